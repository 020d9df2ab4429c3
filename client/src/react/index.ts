'use client'

export { type ClientOptions, type FeedOptions } from './client.js'
export { configure, RowcastProvider, type RowcastProviderProps } from './provider.js'
export { type EnrichmentStream, useEnrichmentStream, type UseEnrichmentStreamOptions } from './useEnrichmentStream.js'
export { type UsedFeed, useFeed, type UseFeedOptions } from './useFeed.js'
export { type PipelineProgressState, usePipelineProgress, type UsePipelineProgressOptions } from './usePipelineProgress.js'
export { type ProjectFeedState, useProjectFeed, type UseProjectFeedOptions } from './useProjectFeed.js'
