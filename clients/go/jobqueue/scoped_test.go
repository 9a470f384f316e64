package jobqueue_test

import (
	"errors"
	"os"
	"testing"

	"jobqueue.dev/go/jobqueue"
	"jobqueue.dev/go/jobqueue/jobqueuetest"
)

// scoped is a namespace of a real server with some kinds. A test of the repository runs those with one, and says the command.
func scoped(t *testing.T, kinds ...string) *jobqueuetest.TestScope {
	t.Helper()
	if os.Getenv("JOBQUEUE_SERVER_COMMAND") == "" {
		t.Skip("JOBQUEUE_SERVER_COMMAND is not set")
	}
	scope := jobqueuetest.NewScope(t)
	for _, name := range kinds {
		if _, err := scope.Client.PutKind(t.Context(), jobqueue.Kind{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	return scope
}

// must is the answer of a call that can't fail here.
func must[Answer any](t *testing.T) func(Answer, error) Answer {
	return func(answer Answer, err error) Answer {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
}

// refusedWith holds an error to its sentinel, and to the one field that is wrong, if there is one.
func refusedWith(t *testing.T, err, wanted error, field string) {
	t.Helper()
	var failure *jobqueue.Error
	if !errors.Is(err, wanted) || !errors.As(err, &failure) {
		t.Fatalf("%v, not %v", err, wanted)
	}
	if field != "" && (len(failure.Violations) != 1 || failure.Violations[0].Field != field) {
		t.Errorf("%+v, not %s", failure.Violations, field)
	}
}

func pointer[Value any](value Value) *Value { return &value }
