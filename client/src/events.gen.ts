// Generated from the models in service/events by `make schema`; a test fails when it is stale.

/** Says who the client is; again with a new token, of the same user, before the old one ends. */
export interface Auth {
  op: "auth";
  /** A Supabase access token. */
  token: string;
}

/** The answer to `auth`: until when its token is good, and the connection with it. */
export interface Authenticated {
  type: "authenticated";
  /** RFC 3339, UTC, milliseconds. */
  expiresAt: string;
}

/** A bill of materials as it was read. */
export interface BomAnswer {
  bom_id: string;
  total_items: number;
  /** Which of the file's columns was read as what: `mpn`, `quantity`, … */
  columns: Record<string, string>;
}

/** The job has succeeded. */
export interface Complete {
}

/** A line item and what became of it. */
export interface Component {
  line_item_id: string;
  /** The manufacturer's part number; null where the line has none. */
  mpn: string | null;
  manufacturer: string | null;
  status: "pending" | "enriching" | "enriched" | "failed" | "not_found";
  /** What the catalogue knows of the part. */
  enrichment_data: {
    supplier?: string | null;
    /** As the catalogue tells it. */
    price?: unknown;
    /** As the catalogue tells it. */
    stock?: unknown;
    /** From data: a link only when it is http or https. */
    datasheet_url?: string | null;
    lifecycle_status?: string | null;
    category?: string | null;
    description?: string | null;
    [name: string]: unknown;
  } | null;
  error_message: string | null;
  /** RFC 3339, UTC, milliseconds. */
  updated_at: string;
}

/** A line item has its outcome; told before the progress of its batch. */
export interface ComponentEvent {
  /** Tells events apart: a UUID, with `:<n>` behind it for a batch's nth component. */
  event_id: string;
  event_type: "enrichment.component.completed" | "enrichment.component.failed";
  /** `{source}.{event_type}` */
  routing_key: string;
  bom_id: string;
  organization_id: string;
  project_id: string;
  /** Who started it; null where an operator did. */
  user_id: string | null;
  source: "customer" | "staff";
  /** `bom-enrichment-{bom_id}` */
  workflow_id: string | null;
  /** The id of the job. */
  workflow_run_id: string | null;
  state: EnrichmentState;
  component: Component;
  /** That of the component's batch. */
  payload: {
    /** Of `enrichment.progress`. */
    batch?: {
      batch_number: number;
      batch_size: number;
      completed: number;
      [name: string]: unknown;
    };
    /** Of `enrichment.failed`. */
    error?: string | null;
    [name: string]: unknown;
  };
  /** RFC 3339, UTC, milliseconds. */
  created_at: string;
}

/** An enrichment was paused, resumed or stopped. */
export interface ControlAnswer {
  success: boolean;
  bom_id: string;
  status: "idle" | "connecting" | "enriching" | "completed" | "failed" | "paused" | "stopped";
}

/** What has become of a proposal. */
export interface DecisionAnswer {
  proposalId: string;
  status: "proposed" | "accepted" | "rejected";
}

/** What becomes of a proposal. */
export interface DecisionRequest {
  status: "proposed" | "accepted" | "rejected";
}

/** The first message of a bill of materials' stream. */
export interface EnrichmentConnected {
  type: "connected";
  bom_id: string;
  message: string;
  state: EnrichmentState;
}

/** An enrichment began, got on (or was paused, resumed or stopped: see its state), or ended. */
export interface EnrichmentEvent {
  /** Tells events apart: a UUID, with `:<n>` behind it for a batch's nth component. */
  event_id: string;
  event_type: "enrichment.started" | "enrichment.progress" | "enrichment.completed" | "enrichment.failed";
  /** `{source}.{event_type}` */
  routing_key: string;
  bom_id: string;
  organization_id: string;
  project_id: string;
  /** Who started it; null where an operator did. */
  user_id: string | null;
  source: "customer" | "staff";
  /** `bom-enrichment-{bom_id}` */
  workflow_id: string | null;
  /** The id of the job. */
  workflow_run_id: string | null;
  state: EnrichmentState;
  payload: {
    /** Of `enrichment.progress`. */
    batch?: {
      batch_number: number;
      batch_size: number;
      completed: number;
      [name: string]: unknown;
    };
    /** Of `enrichment.failed`. */
    error?: string | null;
    [name: string]: unknown;
  };
  /** RFC 3339, UTC, milliseconds. */
  created_at: string;
}

/** As readiness, in the words of the enrichment pages. */
export interface EnrichmentHealth {
  status: "healthy" | "degraded" | "unhealthy";
  realtime: boolean;
  database: boolean;
  active_streams: number;
}

/** A page of what happened, oldest first. */
export interface EnrichmentHistoryAnswer {
  events: HistoryEvent[];
  /** The next page's `after`; null at the end. */
  next: string | null;
}

/** A message of a bill of materials' stream: an event is known by its `event_type`, any other by its `type`. */
export type EnrichmentMessage =
  | EnrichmentConnected
  | EnrichmentSnapshot
  | EnrichmentEvent
  | ComponentEvent
  | Live
  | Reset
  | Reauth
  | StreamError
  | StreamEnd;

/** A bill of materials' present. */
export interface EnrichmentSnapshot {
  type: "snapshot";
  /** Of which moment it is. Only the last part carries it as its id. */
  revision: number;
  /** Its number, from 1. */
  part: number;
  /** Whether it is the last part. Each has at most 256 KiB, unless one row is larger. */
  last: boolean;
  state: EnrichmentState;
  /** The 50 that had their outcome last, newest first. */
  components: Component[];
}

/** A bill of materials' state, as the database reckons it. */
export interface EnrichmentState {
  status: "idle" | "connecting" | "enriching" | "completed" | "failed" | "paused" | "stopped";
  total_items: number;
  enriched_items: number;
  failed_items: number;
  not_found_items: number;
  pending_items: number;
  /** Of `total_items`, those that have an outcome of any kind; with one decimal. */
  percent_complete: number;
  /** `queued`, `enriching`, `complete`. */
  current_stage: string | null;
  /** How many batches are done. */
  current_batch: number | null;
  /** How many there will be, as far as is known now. */
  total_batches: number | null;
  started_at: string | null;
  completed_at: string | null;
  failed_at: string | null;
  error_message: string | null;
  last_update: string | null;
}

/** A bill of materials' present. */
export interface EnrichmentStateAnswer {
  state: EnrichmentState;
  /** The 50 that had their outcome last, newest first. */
  components: Component[];
  /** Of which moment: with `?since=` a stream tells what came after it. */
  revision: number;
}

/** What happened to a bill of materials, known by its `event_type`. */
export type HistoryEvent =
  | EnrichmentEvent
  | ComponentEvent;

/** A job as the snapshot lists it. */
export interface Job {
  jobId: string;
  /** What sort of work it is: `ingestion`, `bom_enrichment`, … */
  kind: string;
  title: string;
  status: "queued" | "running" | "paused" | "completed" | "failed" | "stopped" | "stalled";
  /** How often it has been begun. */
  attempt: number;
  /** Why it failed or was stopped; null unless it was. */
  errorMessage: string | null;
  /** RFC 3339, UTC, milliseconds. */
  createdAt: string;
  /** RFC 3339, UTC, milliseconds. */
  updatedAt: string;
  startedAt: string | null;
  finishedAt: string | null;
  /** Whether somebody has asked it to stop. */
  cancelRequested: boolean;
  /** The source that it works on, if any. */
  sourceId: string | null;
  /** The bill of materials that it works on, if any. */
  bomId: string | null;
  /** Null until it has reported any. */
  progress: Progress | null;
}

/** What has become of the job so far; the rest arrives on the stream. */
export interface JobCommandAnswer {
  jobId: string;
  status: "queued" | "running" | "paused" | "completed" | "failed" | "stopped" | "stalled";
  /** How often it has been begun. */
  attempt: number;
  /** Whether its worker is asked to stop, and has not yet. */
  cancelRequested: boolean;
}

/** A job of several has succeeded. */
export interface JobComplete {
  job_id: string;
}

/** A job was deleted. */
export interface JobDeleted {
  type: "job_deleted";
  jobId: string;
}

/** The job has failed, was stopped, or is not there. */
export interface JobError {
  message: string;
  job_id: string;
}

/** As told on a stream of several jobs. */
export interface JobPipelineProgress {
  /** The source that it works on, if any. */
  document_id: string | null;
  document_name: string | null;
  total_chunks: number;
  total_images: number;
  /** By their names, in order. */
  stages: Record<string, Stage>;
  worker_pool: WorkerPool;
  /** `entities_total`, `relations_total`, `neo4j_writes`, `qdrant_writes`, and what else it counts. */
  metrics: Record<string, number>;
  timing: Timing;
  /** The stages', weighted; it never goes back within an attempt. */
  overall_progress_percent: number;
  /** The newest lines, oldest first. */
  log: LogLine[];
  job_id: string;
}

/** A job was inserted, or one of these fields changed. */
export interface JobUpdate {
  type: "job_update";
  jobId: string;
  /** What sort of work it is: `ingestion`, `bom_enrichment`, … */
  kind: string;
  title: string;
  status: "queued" | "running" | "paused" | "completed" | "failed" | "stopped" | "stalled";
  /** How often it has been begun. */
  attempt: number;
  /** Why it failed or was stopped; null unless it was. */
  errorMessage: string | null;
  /** RFC 3339, UTC, milliseconds. */
  createdAt: string;
  /** RFC 3339, UTC, milliseconds. */
  updatedAt: string;
  startedAt: string | null;
  finishedAt: string | null;
  /** Whether somebody has asked it to stop. */
  cancelRequested: boolean;
  /** The source that it works on, if any. */
  sourceId: string | null;
  /** The bill of materials that it works on, if any. */
  bomId: string | null;
}

/** Nothing has happened for a while; of a project, up to its `revision`. */
export interface Keepalive {
  type: "keepalive";
}

/** Realtime was lost, and events come slower from now on; or it is back. Nothing is missed either way. */
export interface Live {
  type: "live";
  /** Whether events come at once again. */
  live: boolean;
  /** Why, for people and logs. */
  reason: string;
}

/** The process answers. */
export interface Liveness {
  status: "ok";
}

/** What a worker wrote for people. */
export interface LogLine {
  /** RFC 3339. */
  time: string;
  /** `debug`, `info`, `warning`, `error`. */
  level: string;
  message: string;
}

/** A proposal was inserted. */
export interface NewProposal {
  type: "new_proposal";
  proposalId: string;
  title: string;
  /** From 0 to 1. */
  confidence: number | null;
  /** RFC 3339, UTC, milliseconds. */
  createdAt: string;
  status: "proposed" | "accepted" | "rejected";
  /** The job that made it. */
  jobId: string | null;
  /** The source that it was made of. */
  sourceId: string | null;
}

/** A message of the stream of one job's pipeline, known by its event's name. */
export type PipelineMessage =
  | PipelineProgress
  | Complete
  | JobError
  | Live
  | Reauth
  | StreamEnd;

/** The newest state of the job, at most twice a second, and never without the last. */
export interface PipelineProgress {
  /** The source that it works on, if any. */
  document_id: string | null;
  document_name: string | null;
  total_chunks: number;
  total_images: number;
  /** By their names, in order. */
  stages: Record<string, Stage>;
  worker_pool: WorkerPool;
  /** `entities_total`, `relations_total`, `neo4j_writes`, `qdrant_writes`, and what else it counts. */
  metrics: Record<string, number>;
  timing: Timing;
  /** The stages', weighted; it never goes back within an attempt. */
  overall_progress_percent: number;
  /** The newest lines, oldest first. */
  log: LogLine[];
}

/** A message of the stream of all active jobs' pipelines, known by its event's name. */
export type PipelinesMessage =
  | JobPipelineProgress
  | JobComplete
  | JobError
  | Live
  | Reauth
  | StreamEnd;

/** One of the workers that share a job's work. */
export interface PoolWorker {
  id: number | string;
  status: "idle" | "processing" | "error";
  current_chunk: string | number | null;
  progress_percent: number;
}

/** Every answer from 400 on, but of health checks. */
export interface Problem {
  /** What is wrong, for programs. */
  error: "bad_request" | "missing_token" | "invalid_token" | "expired_token" | "forbidden" | "not_found" | "conflict" | "rate_limited" | "too_many_streams" | "upstream_unavailable" | "internal_error";
  /** What is wrong and what would be right, for people. */
  message: string;
}

/** How far a job is. */
export interface Progress {
  /** What it is doing; `complete` says that it succeeded. */
  stage: string | null;
  /** How much of the stage is done. */
  current: number;
  /** Of how much; null where it can't be known. */
  total: number | null;
  /** What it is doing, for people. */
  message: string | null;
  /** When it said so, in milliseconds since the epoch. */
  timestamp: number;
  /** `current` of `total`, with one decimal; null without a total. */
  percent: number | null;
  /** The worker's own estimate of what is left of the whole job, in seconds. */
  etaSeconds: number | null;
}

/** A job got on. */
export interface ProgressUpdate {
  type: "progress_update";
  jobId: string;
  progress: Progress;
}

/** The first message of a project's stream. */
export interface ProjectConnected {
  type: "connected";
  message: string;
  projectId: string;
  /** Where the stream starts: what comes is newer. */
  revision: number;
  /** Whether it goes on from the id that the page sent. */
  resumed: boolean;
  /** Whether changes come at once; else they are asked for every second. */
  live: boolean;
  /** Whether every change is known one by one, from the change log. */
  exact: boolean;
}

/** What a stream would have sent since. */
export interface ProjectEventsAnswer {
  /** The next request's `since`. */
  revision: number;
  /** Whether streams of the project tell changes at once now. */
  live: boolean;
  /** Whether what was missed can't be told one by one: `events` are then a reset and a snapshot. */
  reset: boolean;
  events: ProjectMessage[];
}

/** A message of a project's stream, known by its `type`. */
export type ProjectMessage =
  | ProjectConnected
  | ProjectSnapshot
  | StatusUpdate
  | SourceDeleted
  | ProgressUpdate
  | JobUpdate
  | JobDeleted
  | NewProposal
  | ProposalUpdate
  | ProposalDeleted
  | Live
  | Reset
  | Reauth
  | StreamError
  | StreamEnd;

/** A project's present, in parts: a page has it when it has the last one. */
export interface ProjectSnapshot {
  type: "snapshot";
  /** Of which moment it is. Only the last part carries it as its id. */
  revision: number;
  /** Its number, from 1. */
  part: number;
  /** Whether it is the last part. Each has at most 256 KiB, unless one row is larger. */
  last: boolean;
  sources: Source[];
  jobs: Job[];
  proposals: Proposal[];
}

/** A project's present. */
export interface ProjectSnapshotAnswer {
  /** Of which moment: with `?since=` what came after it. */
  revision: number;
  /** Whether streams of the project tell changes at once now. */
  live: boolean;
  sources: Source[];
  jobs: Job[];
  proposals: Proposal[];
}

/** A proposal as the snapshot lists it. */
export interface Proposal {
  proposalId: string;
  title: string;
  /** From 0 to 1. */
  confidence: number | null;
  /** RFC 3339, UTC, milliseconds. */
  createdAt: string;
  status: "proposed" | "accepted" | "rejected";
  /** The job that made it. */
  jobId: string | null;
  /** The source that it was made of. */
  sourceId: string | null;
  /** RFC 3339, UTC, milliseconds. */
  updatedAt: string;
}

/** A proposal was deleted. */
export interface ProposalDeleted {
  type: "proposal_deleted";
  proposalId: string;
}

/** A proposal was updated. */
export interface ProposalUpdate {
  type: "proposal_update";
  proposalId: string;
  title: string;
  /** From 0 to 1. */
  confidence: number | null;
  /** RFC 3339, UTC, milliseconds. */
  createdAt: string;
  status: "proposed" | "accepted" | "rejected";
  /** The job that made it. */
  jobId: string | null;
  /** The source that it was made of. */
  sourceId: string | null;
  /** RFC 3339, UTC, milliseconds. */
  updatedAt: string;
}

/** Whether this process can serve; `degraded`, with Realtime down and changes coming slower, is ready. */
export interface Readiness {
  status: "ready" | "degraded" | "unready";
  /** `log`: streams are exact; `direct`: the database has no change log, they are not. null until the database has said. */
  mode: "log" | "direct" | null;
  /** Whether the database answers. */
  database: boolean;
  /** Whether changes are heard. */
  listener: boolean;
  /** Whether they come at once. */
  realtime: boolean;
  /** Why it is not ready. */
  reason: string | null;
}

/** The token expires soon, and the stream with it: a page that can get a new one opens another stream in time. */
export interface Reauth {
  type: "reauth";
  /** When the token expires, and the stream ends. */
  expiresAt: string;
}

/** An operation that can't be done. The connection stays, but for what `stream_end` follows. */
export interface Refused {
  type?: "error";
  /** What is wrong, for programs: as in the answers to requests. */
  code: string;
  /** What is wrong, for people. */
  message: string;
  /** The operation, if it could be read. */
  op?: string | null;
  /** The project that it was about. */
  projectId?: string | null;
  /** In how many seconds to try again. */
  retryAfter?: number | null;
}

/** What was missed can't be told one by one: forget what you have, a snapshot follows at once. */
export interface Reset {
  type: "reset";
  /** Why, for people and logs. */
  reason: string;
}

/** A source as the snapshot lists it. */
export interface Source {
  sourceId: string;
  status: "pending" | "processing" | "completed" | "failed";
  sourceName: string;
  /** RFC 3339, UTC, milliseconds. */
  updatedAt: string;
  /** Why it failed; null unless it has. */
  errorMessage: string | null;
}

/** An ingestion source was deleted. */
export interface SourceDeleted {
  type: "source_deleted";
  sourceId: string;
}

/** A stage of a job's work: `processed` of `total` things; `in_flight` are being worked on just now. */
export interface Stage {
  name: string;
  status: "pending" | "in_progress" | "completed" | "error";
  processed: number;
  /** null where it can't be known. */
  total: number | null;
  in_flight: number;
  progress_percent: number;
  /** null until it has begun. */
  duration_ms: number | null;
  is_complete: boolean;
  /** Its share of the whole, beside the other stages'; null where it has none. */
  weight: number | null;
  /** The stage that it is a part of, where it is nested. */
  parent: string | null;
}

/** An enrichment was started. */
export interface StartAnswer {
  success: boolean;
  bom_id: string;
  /** `bom-enrichment-{bom_id}` */
  workflow_id: string;
  /** The id of the job. */
  run_id: string;
  status: "idle" | "connecting" | "enriching" | "completed" | "failed" | "paused" | "stopped";
}

/** What an enrichment is started with; all of it may be left out. */
export interface StartRequest {
  /** If told, it must be the BOM's. */
  organization_id?: string | null;
  /** If told, it must be the BOM's. */
  project_id?: string | null;
  /** 9 comes first. */
  priority?: number;
}

/** An ingestion source was inserted or updated. */
export interface StatusUpdate {
  type: "status_update";
  sourceId: string;
  status: "pending" | "processing" | "completed" | "failed";
  sourceName: string;
  /** RFC 3339, UTC, milliseconds. */
  updatedAt: string;
  /** Why it failed; null unless it has. */
  errorMessage: string | null;
}

/** The last message, always, when the server ends a stream. */
export interface StreamEnd {
  type: "stream_end";
  /** `completed`, `token_expired`, `access_revoked`, `shutdown`, `too_slow`, `error`, or one of the feed's own: `enrichment.completed`, `enrichment.failed`. */
  reason: string;
  /** Whether to come back, with the last id; if not, close the EventSource. */
  reconnect: boolean;
}

/** The stream can't go on; `stream_end` follows. */
export interface StreamError {
  type: "error";
  /** What went wrong, for programs: `not_found`, `upstream_unavailable`, … */
  code: string;
  /** What went wrong, for people. */
  message: string;
}

/** Asks for a project's messages. The answer is `connected`, and what follows it on a stream. */
export interface Subscribe {
  op: "subscribe";
  projectId: string;
  /** Go on from here: the `revision` of the last message of the project that was received. */
  since?: number | null;
  /** The present as the second message; of no effect with `since`. */
  snapshot?: boolean;
  /** Only these types; what the stream says of itself always. */
  types?: string[] | null;
  /** As an `auth` before it. */
  token?: string | null;
}

/** A ticket that opens one stream. */
export interface TicketAnswer {
  ticket: string;
  /** For how many seconds it is good. */
  expiresIn: number;
}

/** Of the present attempt. */
export interface Timing {
  /** Seconds since the epoch. */
  started_at: number | null;
  elapsed_ms: number;
  /** null until it can be known. */
  estimated_remaining_ms: number | null;
}

/** Ends a subscription. Nothing of the project follows the answer, `unsubscribed`. */
export interface Unsubscribe {
  op: "unsubscribe";
  projectId: string;
}

/** The answer to `unsubscribe`. Nothing of the project comes any more. */
export interface Unsubscribed {
  type: "unsubscribed";
  projectId: string;
}

/** Those that share a job's work. */
export interface WorkerPool {
  /** How many of them work just now. */
  active: number;
  /** How many there may be. */
  max: number;
  /** How many things wait for one. */
  queue_depth: number;
  workers: PoolWorker[];
}

/** The project feed: what its events hold, by their names. */
export interface ProjectEvents {
  connected: ProjectConnected;
  snapshot: ProjectSnapshot;
  status_update: StatusUpdate;
  source_deleted: SourceDeleted;
  progress_update: ProgressUpdate;
  job_update: JobUpdate;
  job_deleted: JobDeleted;
  new_proposal: NewProposal;
  proposal_update: ProposalUpdate;
  proposal_deleted: ProposalDeleted;
  live: Live;
  reset: Reset;
  reauth: Reauth;
  error: StreamError;
  stream_end: StreamEnd;
}

/** An event of it with its name. */
export type ProjectStreamEvent = {
  [Name in keyof ProjectEvents]: { event: Name; data: ProjectEvents[Name] };
}[keyof ProjectEvents];

export const projectEventNames = [
  "connected",
  "snapshot",
  "status_update",
  "source_deleted",
  "progress_update",
  "job_update",
  "job_deleted",
  "new_proposal",
  "proposal_update",
  "proposal_deleted",
  "live",
  "reset",
  "reauth",
  "error",
  "stream_end",
] as const satisfies readonly (keyof ProjectEvents)[];

/** The enrichment feed: what its events hold, by their names. */
export interface EnrichmentEvents {
  connected: EnrichmentConnected;
  snapshot: EnrichmentSnapshot;
  "enrichment.started": EnrichmentEvent;
  "enrichment.progress": EnrichmentEvent;
  "enrichment.completed": EnrichmentEvent;
  "enrichment.failed": EnrichmentEvent;
  "enrichment.component.completed": ComponentEvent;
  "enrichment.component.failed": ComponentEvent;
  live: Live;
  reset: Reset;
  reauth: Reauth;
  error: StreamError;
  stream_end: StreamEnd;
}

/** An event of it with its name. */
export type EnrichmentStreamEvent = {
  [Name in keyof EnrichmentEvents]: { event: Name; data: EnrichmentEvents[Name] };
}[keyof EnrichmentEvents];

export const enrichmentEventNames = [
  "connected",
  "snapshot",
  "enrichment.started",
  "enrichment.progress",
  "enrichment.completed",
  "enrichment.failed",
  "enrichment.component.completed",
  "enrichment.component.failed",
  "live",
  "reset",
  "reauth",
  "error",
  "stream_end",
] as const satisfies readonly (keyof EnrichmentEvents)[];

/** The pipeline of one job: what its events hold, by their names. */
export interface PipelineEvents {
  pipeline_progress: PipelineProgress;
  complete: Complete;
  error: JobError;
  live: Live;
  reauth: Reauth;
  stream_end: StreamEnd;
}

/** An event of it with its name. */
export type PipelineStreamEvent = {
  [Name in keyof PipelineEvents]: { event: Name; data: PipelineEvents[Name] };
}[keyof PipelineEvents];

export const pipelineEventNames = [
  "pipeline_progress",
  "complete",
  "error",
  "live",
  "reauth",
  "stream_end",
] as const satisfies readonly (keyof PipelineEvents)[];

/** The pipelines of a project's active jobs: what its events hold, by their names. */
export interface PipelinesEvents {
  pipeline_progress: JobPipelineProgress;
  complete: JobComplete;
  error: JobError;
  live: Live;
  reauth: Reauth;
  stream_end: StreamEnd;
}

/** An event of it with its name. */
export type PipelinesStreamEvent = {
  [Name in keyof PipelinesEvents]: { event: Name; data: PipelinesEvents[Name] };
}[keyof PipelinesEvents];

export const pipelinesEventNames = [
  "pipeline_progress",
  "complete",
  "error",
  "live",
  "reauth",
  "stream_end",
] as const satisfies readonly (keyof PipelinesEvents)[];

/** Several projects on one stream: of which a message is, unless it is the whole stream's. */
export interface OfProjects {
  projectId?: string;
}

export type ProjectsMessage = ProjectMessage & OfProjects;

export type ProjectsEvents = {
  [Name in keyof ProjectEvents]: ProjectEvents[Name] & OfProjects;
};

/** Several bills of materials on one stream: of which a message is, unless it is the whole stream's. */
export interface OfEnrichments {
  bom_id?: string;
}

export type EnrichmentsMessage = EnrichmentMessage & OfEnrichments;

export type EnrichmentsEvents = {
  [Name in keyof EnrichmentEvents]: EnrichmentEvents[Name] & OfEnrichments;
};

/** The WebSocket: whose a message is, and up to where the project has been told then. */
export interface OfSocket {
  projectId?: string;
  revision?: number;
}

export type SocketMessage =
  | (ProjectMessage & OfSocket)
  | Authenticated
  | Unsubscribed
  | Keepalive
  | Refused;

/** What a client sends. */
export type SocketOperation =
  | Auth
  | Subscribe
  | Unsubscribe;
