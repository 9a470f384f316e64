package jobqueue

import (
	"strings"
	"time"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"

	pb "jobqueue.dev/go/jobqueue/v1"
)

// BulkState is how an operation stands.
type BulkState string

// The states. One that this version does not know is read as BulkUnspecified.
const (
	BulkUnspecified BulkState = "UNSPECIFIED"
	BulkWaiting     BulkState = "WAITING"
	BulkRunning     BulkState = "RUNNING"
	BulkSucceeded   BulkState = "SUCCEEDED"
	BulkCancelled   BulkState = "CANCELLED"
	BulkFailed      BulkState = "FAILED"
)

// Operation is a change of many jobs, or a backfill of a schedule, as it was when it was read. Of a backfill all that is
// counted is ticks, not jobs. Times that are not set are zero.
type Operation struct {
	// Name is `operations/` and an id. Empty in a dry run.
	Name string
	// Verb is the method that made it, such as `RetryJobs` or `BackfillSchedule`.
	Verb  string
	State BulkState
	// Done: it goes on no more.
	Done bool
	// DryRun: nothing is changed.
	DryRun bool
	// Looked is how many jobs were looked at.
	Looked int
	// Changed is how many jobs were changed. Of a backfill: how many ticks fired.
	Changed int
	// Skipped is how many jobs matched and were changed by another caller just before their turn. Of a backfill: how many
	// ticks did not fire.
	Skipped int
	// Estimate is how many jobs matched when they were counted. EstimateCapped: counting ended at its bound, so that more may
	// match.
	Estimate       int
	EstimateCapped bool
	// PerSecond and MaxJobs are the limits that it was given, of jobs or of ticks. 0: none.
	PerSecond, MaxJobs int
	// SampleIDs are the first jobs that matched, 20 at most.
	SampleIDs []string
	// CreatedAt is when it was made, UpdatedAt when it last changed jobs or was changed itself, EndedAt when it was done.
	CreatedAt, UpdatedAt, EndedAt time.Time
	// Error is why it ended early. Empty: it did not.
	Error string
	// Schedule is that of a backfill. Empty: it is no backfill.
	Schedule string
	// StartAt and EndAt are the span of a backfill. LastAt is its last tick that was decided; zero: none was yet.
	StartAt, EndAt, LastAt time.Time
}

// operationOf is an operation as it was answered.
func operationOf(message *longrunningpb.Operation) *Operation {
	operation := &Operation{
		Name: message.GetName(), Done: message.GetDone(), Error: message.GetError().GetMessage(), State: BulkUnspecified,
	}
	told, err := message.GetMetadata().UnmarshalNew()
	if err != nil {
		return operation // it is of a newer server
	}
	switch told := told.(type) {
	case *pb.BulkMetadata:
		operation.Verb = told.GetVerb()
		operation.State = bulkStateOf(told.GetState())
		operation.DryRun = told.GetDryRun()
		operation.Looked = int(told.GetLooked())
		operation.Changed = int(told.GetChanged())
		operation.Skipped = int(told.GetSkipped())
		operation.Estimate, operation.EstimateCapped = int(told.GetEstimate()), told.GetEstimateCapped()
		operation.PerSecond, operation.MaxJobs = int(told.GetPerSecond()), int(told.GetMaxJobs())
		operation.SampleIDs = told.GetSampleIds()
		operation.CreatedAt = timeOf(told.GetCreatedAt())
		operation.UpdatedAt = timeOf(told.GetUpdatedAt())
		operation.EndedAt = timeOf(told.GetEndedAt())
	case *pb.BackfillMetadata:
		operation.Verb = "BackfillSchedule"
		operation.State = bulkStateOf(told.GetState())
		operation.DryRun = told.GetValidateOnly()
		operation.Looked = int(told.GetLooked())
		operation.Changed = int(told.GetFired())
		operation.Skipped = int(told.GetSkipped())
		operation.Estimate, operation.EstimateCapped = int(told.GetEstimate()), told.GetEstimateCapped()
		operation.PerSecond, operation.MaxJobs = int(told.GetPerSecond()), int(told.GetMaxTicks())
		operation.CreatedAt = timeOf(told.GetCreatedAt())
		operation.UpdatedAt = timeOf(told.GetUpdatedAt())
		operation.EndedAt = timeOf(told.GetEndedAt())
		operation.Schedule = told.GetSchedule()
		operation.StartAt = timeOf(told.GetStartAt())
		operation.EndAt = timeOf(told.GetEndAt())
		operation.LastAt = timeOf(told.GetLastAt())
	}
	return operation
}

func bulkStateOf(state pb.BulkState) BulkState {
	return BulkState(strings.TrimPrefix(named[string](pb.BulkState_name, int32(state)), "BULK_STATE_"))
}
