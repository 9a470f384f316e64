package jobqueue_test

import (
	"reflect"
	"testing"
	"time"

	"jobqueue.dev/go/jobqueue"
)

func TestInAScopeAQueueKeepsItsEndedJobsForAsLongAsItIsTold(t *testing.T) {
	client := scoped(t, "work").Client
	update := func(change jobqueue.QueueChange) *jobqueue.Queue {
		t.Helper()
		return must[*jobqueue.Queue](t)(client.UpdateQueue(t.Context(), "mail", change))
	}
	kept := jobqueue.Retention{Succeeded: day, FailedPermanent: 30 * day}
	made := update(jobqueue.QueueChange{Retention: &kept, AllowMissing: true, Limits: &jobqueue.Limits{MaxRunning: 4}})
	if made.Retention == nil || *made.Retention != kept || made.Limits == nil {
		t.Errorf("%+v", made.Retention)
	}
	read := must[*jobqueue.Queue](t)(client.GetQueue(t.Context(), "mail"))
	if !reflect.DeepEqual(read.Retention, made.Retention) {
		t.Errorf("%+v", read.Retention)
	}
	part := jobqueue.QueueChange{
		Retention: &jobqueue.Retention{Cancelled: time.Hour}, RetentionFields: []string{"cancelled"}, Etag: made.Etag,
	}
	changed := update(part)
	kept.Cancelled = time.Hour
	if *changed.Retention != kept || changed.Limits == nil {
		t.Errorf("%+v", changed.Retention)
	}
	_, err := client.UpdateQueue(t.Context(), "mail", part)
	refusedWith(t, err, jobqueue.ErrEtagMismatch, "")
	none := jobqueue.QueueChange{Retention: &jobqueue.Retention{}, RetentionFields: []string{"succeeded"}}
	if changed = update(none); changed.Retention.Succeeded != 0 ||
		changed.Retention.FailedPermanent != 30*day {
		t.Errorf("%+v", changed.Retention)
	}
	if changed = update(jobqueue.QueueChange{MaxWaiting: pointer(7)}); changed.Retention == nil {
		t.Error("it is as of every queue though nothing was said of it")
	}
	if changed = update(jobqueue.QueueChange{Retention: &jobqueue.Retention{}}); changed.Retention != nil {
		t.Errorf("%+v", changed.Retention)
	}
	short := jobqueue.QueueChange{Retention: &jobqueue.Retention{Succeeded: time.Minute}}
	_, err = client.UpdateQueue(t.Context(), "mail", short)
	refusedWith(t, err, jobqueue.ErrInvalidRequest, "queue.retention.succeeded")
}
