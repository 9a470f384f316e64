package jobqueue

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	pb "jobqueue.dev/go/jobqueue/v1"
)

// DeclaredKind is a [JobKind] of any types, as [DefineKind] makes it.
type DeclaredKind interface {
	// Name is the kind's name.
	Name() string
	// declaration is what SyncKinds says of it, and the names of what it says.
	// encodes: the program has encodings.
	declaration(encodes bool) (*pb.Kind, []string)
}

// SyncedKind is what [Client.SyncKinds] did with one kind.
type SyncedKind struct {
	// Kind is the kind as the server has it now.
	Kind *Kind
	// Changed says whether it was changed.
	Changed bool
	// Newer says whether the server has a higher version of it, declared by a newer program, and so nothing was changed.
	Newer bool
}

// String says what was done in words.
func (s SyncedKind) String() string {
	if s.Kind == nil {
		return "no kind"
	}
	said := "unchanged"
	switch {
	case s.Newer:
		said = "left as it is, since the server has a higher version"
	case s.Changed:
		said = "changed"
	}
	return fmt.Sprintf("%s (version %d): %s", s.Kind.Name, s.Kind.Version, said)
}

// SyncKinds tells the server what kinds that [DefineKind] made are: for each one its schemas and its version.
//
// Of a client with Encodings the payloads may be encoded, unless a kind says otherwise. Of the rest it says MaxAttempts,
// Timeout and RetryPolicy where its Defaults have them, and its SlotWeight where it has one; what it does not name stays as
// an operator set it. A kind of which the server has a higher version stays as it is. One that the server does not know is
// made. It takes a call for each kind, one after the other. The result is what was done, in the same order; with an error,
// for those before it.
//
// ErrInvalidRequest: a schema is no JSON Schema, or too large; or two kinds of different types have one name, and nothing was
// sent. ErrNotAllowed: the caller may not declare a kind: that takes
// OPERATE on it in all queues. ErrServersDiffer: an older server runs, which would replace what is not named.
// ErrNotSupported: the server is older, and has done so.
func (c *Client) SyncKinds(ctx context.Context, kinds ...DeclaredKind) ([]SyncedKind, error) {
	types := map[string]reflect.Type{}
	for _, each := range kinds {
		now := reflect.TypeOf(each)
		if before, ok := types[each.Name()]; ok && before != now {
			return nil, invalid("kinds", "two types are declared as %q: %v and %v; a kind has one", each.Name(), before, now)
		}
		types[each.Name()] = now
	}
	synced := make([]SyncedKind, 0, len(kinds))
	for _, each := range kinds {
		message, fields := each.declaration(c.options.Encodings != nil)
		request := &pb.PutKindRequest{
			Kind: message, PayloadFormat: payloadJSON, UpdateMask: &fieldmaskpb.FieldMask{Paths: fields}, OnlyNewer: true,
		}
		answer, err := call(ctx, c, true, c.admin.PutKind, request)
		if err != nil {
			return synced, err
		}
		stored := kindOf(answer.GetKind())
		version := int(message.GetVersion())
		if stored.Version < version {
			return synced, newError(codes.Unimplemented, fmt.Sprintf("the server is older than SyncKinds: it replaced all that "+
				"was declared of the kind %s; upgrade it, and set its settings again", each.Name()))
		}
		synced = append(synced, SyncedKind{stored, !answer.GetUnchanged(), answer.GetUnchanged() && stored.Version > version})
	}
	return synced, nil
}

func (k *JobKind[P, O]) declaration(encodes bool) (*pb.Kind, []string) {
	message := &pb.Kind{
		Name: k.name, Version: whole(k.settings.version), Definition: &pb.Kind_SchemaJson{SchemaJson: k.schema(encodes)},
	}
	fields := []string{"schema", "output_schema", "version"}
	if schema := k.OutputSchema(); schema != nil {
		message.OutputDefinition = &pb.Kind_OutputSchemaJson{OutputSchemaJson: schema}
	}
	if said := &k.settings.defaults; said.MaxAttempts != 0 {
		message.MaxAttempts = whole(said.MaxAttempts)
		fields = append(fields, "max_attempts")
	}
	if said := &k.settings.defaults; said.Timeout != 0 {
		message.Timeout = durationMessage(said.Timeout)
		fields = append(fields, "timeout")
	}
	if said := &k.settings.defaults; said.RetryPolicy != nil {
		message.RetryPolicy = policyMessage(said.RetryPolicy)
		fields = append(fields, "retry_policy")
	}
	if weight := k.settings.slotWeight; weight != nil {
		message.SlotWeight = whole(*weight)
		fields = append(fields, "slot_weight")
	}
	return message, fields
}

// declare syncs kinds with the first server that answers, and waits for one as long as it takes; false: the context ended
// before. An error is what no other try will mend.
func (s *session) declare(ctx context.Context, kinds []DeclaredKind) (bool, error) {
	waits, said := newBackoff(100*time.Millisecond, 5*time.Second), false
	for tries := 0; ; tries++ {
		target := s.options.Targets[tries%len(s.options.Targets)]
		synced, err := s.syncWith(ctx, target, kinds)
		if err == nil {
			for _, each := range synced {
				switch {
				case each.Newer:
					s.log.Info("the kind is left as it is: the server has a higher version of it", "kind", each.Kind.Name,
						"version", each.Kind.Version)
				case each.Changed:
					s.log.Info("the kind is synced", "kind", each.Kind.Name)
				}
			}
			return true, nil
		}
		if ctx.Err() != nil {
			return false, nil
		}
		forGood := errors.Is(err, ErrInvalidRequest) || errors.Is(err, ErrNotAllowed) || errors.Is(err, ErrNotSupported)
		s.mu.Lock()
		s.failed(err)
		if forGood {
			s.enter(WorkerRefused)
		}
		s.mu.Unlock()
		if forGood {
			return false, err
		}
		if !said {
			s.log.Warn("the kinds are not synced yet", "target", target, "error", err)
			said = true
		}
		if sleep(ctx, waits.next()) != nil {
			return false, nil
		}
	}
}

func (s *session) syncWith(ctx context.Context, target string, kinds []DeclaredKind) ([]SyncedKind, error) {
	client, err := NewClient(target, ClientOptions{
		Access: s.options.Access, Deadline: welcomeWithin, Encodings: s.options.Encodings,
	})
	if err != nil {
		return nil, err
	}
	defer func() { _ = client.Close() }()
	// The end of ctx ends the calls; its deadline would be theirs, and no other server would be asked before it.
	calls, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	defer context.AfterFunc(ctx, end)()
	return client.SyncKinds(calls, kinds...)
}
