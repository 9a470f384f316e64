package jobqueue

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"google.golang.org/protobuf/proto"

	pb "jobqueue.dev/go/jobqueue/v1"
)

const (
	batchJobs = 1000
	// A message may have 4 MiB.
	batchBytes = 3 * 1024 * 1024
)

var jobPath = regexp.MustCompile(`\bjobs\[(\d+)\]`)

// cutBatch says how many of the jobs the next batch takes, at least one, and whether each of them has a key.
func cutBatch(jobs []*pb.NewJob) (count int, keyed bool) {
	keyed = true
	size := 0
	for _, job := range jobs {
		size += proto.Size(job)
		if count == batchJobs || (count > 0 && size > batchBytes) {
			break
		}
		count++
		keyed = keyed && job.GetIdempotencyKey() != ""
	}
	return count, keyed
}

// rebased is the error of a batch with its paths counted from the first job of all.
func rebased(err error, before int) error {
	var failure *Error
	if before == 0 || !errors.As(err, &failure) {
		return err
	}
	for i, each := range failure.Violations {
		failure.Violations[i].Field = jobPath.ReplaceAllStringFunc(each.Field, func(path string) string {
			number, _ := strconv.Atoi(path[len("jobs[") : len(path)-1])
			return fmt.Sprintf("jobs[%d]", number+before)
		})
	}
	failure.note = fmt.Sprintf("the %d jobs of the batches before are enqueued", before)
	return err
}
