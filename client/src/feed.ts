// What a feed is to a page: where its stream and its snapshot are, and what its events make of the page's data.

/** An event with its name; the generated types say what `data` is for each. */
export interface FeedEvent {
  readonly event: string
  readonly data: unknown
}

/** Why something did not work: `code` for programs, `message` for people. */
export interface Problem {
  readonly code: string
  readonly message: string
}

/** How a feed ended for good. */
export interface Ending {
  readonly reason: string
  /** null where it ended well. */
  readonly error: Problem | null
}

/** Pure: `reduce` changes nothing that it is given. The same reducer serves stream, replay and poll. */
export interface Feed<Data, Event extends FeedEvent> {
  /** Tells the feed from all others of a server. */
  readonly name: string
  readonly initial: Data
  /** Whether its streams begin with `connected`. Where they don't, the page is told one when a stream is open. */
  readonly greets: boolean
  /** The stream's path; where to go on from is told in a header. */
  readonly path: string
  reduce(data: Data, events: readonly Event[]): Data
  /** The path to poll, for what came after `since`. Without it the feed is not polled. */
  pollPath?(since: string | null): string
  /** A poll's answer as events. `cursor` is where a stream would go on, undefined to leave it where it was. */
  polled?(answer: unknown): { events: Event[]; cursor: string | undefined }
  /** What tells an event from others, where getting it twice would matter. */
  idOf?(event: Event): string | undefined
  /** Whether the feed ends with this event, where no `stream_end` says so. */
  endingOf?(event: Event): Ending | null
}
