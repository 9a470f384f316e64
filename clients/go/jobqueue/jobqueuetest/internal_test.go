package jobqueuetest

import (
	"reflect"
	"testing"
	"time"

	"jobqueue.dev/go/jobqueue"
)

// TheClockIs moves the clock of this machine, as the kit sees it, while a test runs.
func TheClockIs(t *testing.T, ahead time.Duration) {
	now = func() time.Time { return time.Now().Add(ahead) }
	t.Cleanup(func() { now = time.Now })
}

// AnyStarts says whether one of these jobs, which waited when they were listed, is waited for.
func (s *TestScope) AnyStarts(jobs []*jobqueue.Job, options ...RunOption) (bool, error) {
	r := &running{scope: s}
	for _, option := range options {
		option(r)
	}
	return r.anyStarts(s.t.Context(), jobs)
}

func TestNumbersAreEqualIfTheirDigitsSayTheSame(t *testing.T) {
	for _, row := range []struct {
		one, other string
		equal      bool
	}{
		{"1", "1.0", true}, {"1", "1e0", true}, {"100", "1E2", true}, {"-0", "0", true}, {"0.1", "0.10", true}, {"1", "2", false},
		{"1", "true", false}, {"1", `"1"`, false}, {"9007199254740993", "9007199254740992", false},
		{"9007199254740993.0", "9007199254740993", true},
		{"9223372036854775807", "9223372036854775808", false}, {"9223372036854775808", "9223372036854775809", false},
		{"9223372036854775808", "9223372036854775808.0", true}, {"9223372036854775808", `"9223372036854775808"`, false},
		{"-9223372036854775809", "-9223372036854775810", false},
		{"1e30", "1000000000000000000000000000000", true}, {"1e30", "1000000000000000019884624838656", false},
		{"1e9999999", "1e9999999", true},
	} {
		if equal := reflect.DeepEqual(decoded([]byte(row.one)), decoded([]byte(row.other))); equal != row.equal {
			t.Errorf("%s and %s: %v", row.one, row.other, equal)
		}
	}
}
