package riverbridge

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"jobqueue.dev/go/jobqueue"
)

const (
	// Where a job has the metadata and the tags of River's InsertOpts.
	metadataHeader = "river-metadata"
	tagLabel       = "tag."
	// How long River keeps a completed job, which holds its unique name until then.
	completedKept = 24 * time.Hour
)

// New is the job that River's Insert would make of these arguments. nil: no options but those of the args.
func New(args river.JobArgs, opts *river.InsertOpts) jobqueue.NewJob {
	var said, own river.InsertOpts
	if opts != nil {
		said = *opts
	}
	if with, ok := args.(river.JobArgsWithInsertOpts); ok {
		own = with.InsertOpts()
	}
	job := jobqueue.NewJob{
		Kind:        args.Kind(),
		Payload:     args,
		Queue:       cmp.Or(said.Queue, own.Queue),
		Priority:    1 - cmp.Or(said.Priority, own.Priority, river.PriorityDefault), // there 1 is the first, here the highest
		MaxAttempts: cmp.Or(said.MaxAttempts, own.MaxAttempts, river.MaxAttemptsDefault),
		RunAt:       said.ScheduledAt,
		Hold:        said.Pending,
		Labels:      map[string]string{},
		Unique:      cmp.Or(uniqueOf(args, said.UniqueOpts), uniqueOf(args, own.UniqueOpts)),
	}
	if job.RunAt.IsZero() {
		job.RunAt = own.ScheduledAt
	}
	if len(said.Metadata) > 0 {
		job.Headers = map[string]string{metadataHeader: string(said.Metadata)}
	}
	tags := said.Tags
	if tags == nil {
		tags = own.Tags
	}
	for _, tag := range tags {
		job.Labels[tagLabel+tag] = ""
	}
	return job
}

// uniqueOf is what a job is unique by. nil: it is not.
func uniqueOf(args river.JobArgs, by river.UniqueOpts) *jobqueue.Unique {
	if reflect.DeepEqual(by, river.UniqueOpts{}) {
		return nil
	}
	unique := &jobqueue.Unique{Until: jobqueue.UntilEnds, Key: "any"}
	if by.ByArgs {
		unique.Key, unique.PayloadFields = "", uniqueFields(reflect.TypeOf(args), "")
	}
	switch {
	case by.ByQueue && by.ExcludeKind:
		unique.Scope = jobqueue.ScopeQueue
	case by.ByQueue:
		unique.Scope = jobqueue.ScopeQueueAndKind
	case by.ExcludeKind:
		unique.Scope = jobqueue.ScopeNamespace
	}
	switch {
	case by.ByPeriod > 0:
		unique.Until, unique.Period = jobqueue.UntilPeriod, by.ByPeriod
	case by.ByState == nil || slices.Contains(by.ByState, rivertype.JobStateCompleted):
		unique.Period = completedKept
	}
	return unique
}

// uniqueFields are the fields with the tag `river:"unique"`. None: all args make the name.
func uniqueFields(of reflect.Type, path string) []string {
	if of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	// A type may contain itself.
	if of.Kind() != reflect.Struct || strings.Count(path, "/") > 5 {
		return nil
	}
	var found []string
	for i := range of.NumField() {
		field := of.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "-" || !(field.IsExported() || field.Anonymous) {
			continue
		}
		there := path
		if name != "" || !field.Anonymous {
			there += "/" + cmp.Or(name, field.Name)
		}
		within := uniqueFields(field.Type, there)
		if len(within) == 0 && field.Tag.Get("river") == "unique" {
			within = []string{there}
		}
		found = append(found, within...)
	}
	return found
}
