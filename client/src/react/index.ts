'use client' // here alone: all else of it is reached through this entry

export { type ClientOptions, type FeedOptions } from './client.js'
export { configure, RowcastProvider, type RowcastProviderProps } from './provider.js'
export { type EnrichmentStream, useEnrichmentStream, type UseEnrichmentStreamOptions } from './useEnrichmentStream.js'
export { type UsedFeed, useFeed, type UseFeedOptions } from './useFeed.js'
export { type PipelineProgressState, usePipelineProgress, type UsePipelineProgressOptions } from './usePipelineProgress.js'
export { type ProjectFeedState, useProjectFeed, type UseProjectFeedOptions } from './useProjectFeed.js'
export { ConnectionBadge, type ConnectionBadgeProps } from './ConnectionBadge.js'
export {
  EnrichmentMonitorPanel, type EnrichmentMonitorPanelProps, EnrichmentProgressBar, type EnrichmentProgressBarProps,
  EnrichmentStageIndicator, type EnrichmentStageIndicatorProps, EnrichmentStats, type EnrichmentStatsProps,
} from './enrichment.js'
export { Pill } from './Pill.js'
export { PipelineBoard, PipelineProgress, type PipelineProgressProps } from './pipeline.js'
export {
  type Action, JobList, type JobListProps, ProposalList, type ProposalListProps, SourceList, type SourceListProps,
} from './project.js'
export { type MakeRequest, RequestError, useRequest } from './useRequest.js'
