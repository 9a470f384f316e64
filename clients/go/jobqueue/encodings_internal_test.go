package jobqueue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var testKey = []byte("0123456789abcdef0123456789abcdef")

func TestAFunctionIsAskedForAKeyOnceByAllThatWaitForIt(t *testing.T) {
	var asked atomic.Int32
	going := make(chan struct{})
	keys := newAskedKeys(func(ctx context.Context, name string) ([]byte, error) {
		asked.Add(1)
		<-going
		return testKey, ctx.Err()
	})
	leaving, leave := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, err := keys.get(leaving, "a")
		left <- err
	}()
	for asked.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	// One that waits no longer does not end it for the others.
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	answers := make(chan error, 50)
	for range 50 {
		go func() {
			key, err := keys.get(t.Context(), "a")
			if err == nil && string(key) != string(testKey) {
				err = errors.New("another key")
			}
			answers <- err
		}()
	}
	close(going)
	for range 50 {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
	if asked.Load() != 1 {
		t.Error(asked.Load())
	}
}

func TestAKeyIsAskedForAgainAfterFiveMinutesAndOneThatIsMissingAfterFifteenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []string
		known := map[string][]byte{"a": testKey}
		keys := newAskedKeys(func(_ context.Context, name string) ([]byte, error) {
			asked = append(asked, name)
			return known[name], nil
		})
		var missing *KeyUnknownError
		for _, step := range []struct {
			after time.Duration
			asked int
			there bool
		}{
			{0, 2, false}, {14 * time.Second, 2, false}, {2 * time.Second, 3, true}, {280 * time.Second, 3, true},
			{5 * time.Second, 4, true},
		} {
			time.Sleep(step.after)
			if _, err := keys.get(t.Context(), "a"); err != nil {
				t.Error(err)
			}
			_, err := keys.get(t.Context(), "b")
			if (err == nil) != step.there || (err != nil && (!errors.As(err, &missing) || missing.KeyID != "b")) {
				t.Error(step.after, err)
			}
			if len(asked) != step.asked {
				t.Error(step.after, asked)
			}
			known["b"] = testKey
		}
	})
}

func TestAFunctionIsNotAskedForWhatIsNoNameAndKeepsSoManyAnswers(t *testing.T) {
	asked := 0
	keys := newAskedKeys(func(_ context.Context, name string) ([]byte, error) {
		asked++
		if name == "a" {
			return testKey, nil
		}
		return nil, nil
	})
	var missing *KeyUnknownError
	for _, name := range []string{"", "a b", "a\n", "\x00", `../\`, strings.Repeat("a", 256), "%2e", "a'"} {
		if _, err := keys.get(t.Context(), name); !errors.As(err, &missing) || asked != 0 {
			t.Errorf("%q %v", name, err)
		}
	}
	_, _ = keys.get(t.Context(), "a")
	names := []string{"vault:mail/2026-10", strings.Repeat("k", 255), "schlüssel"}
	for number := range 600 {
		names = append(names, fmt.Sprint("n", number))
	}
	for _, name := range names {
		if _, err := keys.get(t.Context(), name); !errors.As(err, &missing) {
			t.Errorf("%q %v", name, err)
		}
	}
	if asked != 604 || len(keys.kept) != mostKeysKept {
		t.Error(asked, len(keys.kept))
	}
	// What is there is kept, and what is not there goes.
	if _, err := keys.get(t.Context(), "a"); err != nil || asked != 604 {
		t.Error(asked, err)
	}
}

func TestWhatAFunctionForKeysComesToIsTheError(t *testing.T) {
	away := errors.New("the key service is away")
	for name, row := range map[string]struct {
		answers func() ([]byte, error)
		words   string
	}{
		"an error":     {func() ([]byte, error) { return nil, away }, "the key service is away"},
		"a panic":      {func() ([]byte, error) { panic("no key today") }, "no key today"},
		"no whole key": {func() ([]byte, error) { return []byte("12345"), nil }, `the key "a" has 5 bytes; it must have 32`},
	} {
		keys := newAskedKeys(func(context.Context, string) ([]byte, error) { return row.answers() })
		for range 2 { // it is not kept
			if key, err := keys.get(t.Context(), "a"); key != nil || err == nil || err.Error() != row.words {
				t.Errorf("%s: %v %v", name, key, err)
			}
		}
		if len(keys.kept) != 0 || len(keys.asking) != 0 {
			t.Error(name, keys.kept)
		}
	}
}

func TestAKeyOfAFunctionIsACopy(t *testing.T) {
	own := slices.Clone(testKey)
	keys := newAskedKeys(func(context.Context, string) ([]byte, error) { return own, nil })
	_, _ = keys.get(t.Context(), "a")
	clear(own)
	if key, _ := keys.get(t.Context(), "a"); string(key) != string(testKey) {
		t.Error("it changed")
	}
}

func TestNoTwoPlacesAreAuthenticatedAsTheSame(t *testing.T) {
	found := map[string]bool{}
	for _, purpose := range []string{"payload", "output"} {
		for _, kind := range []string{"a", "ab", "abc"} {
			for _, id := range []string{"", "b", "bc", "c"} {
				for _, key := range []string{"", "b", "c"} {
					for _, names := range [][]string{{"a"}, {"a", "b"}, {"ab"}} {
						found[string(codingPlace{purpose, kind, id, jsonType}.authenticated(names, key))] = true
					}
				}
			}
		}
	}
	if len(found) != 2*3*4*3*3 {
		t.Error(len(found))
	}
}

func TestAnEnvelopeIsWrittenWithThoseEscapesAloneThatThereMustBe(t *testing.T) {
	name := "a\"\\/\b\f\n\r\t\x01\x7f<&>\u2028é😀"
	want := `"a\"\\/\b\f\n\r\t\u0001` + "\x7f<&>\u2028é😀\""
	if made := string(appendQuoted(nil, name)); made != want {
		t.Error(made)
	}
	text := (&envelope{[]string{name}, name, []byte{0xfb, 0xff}, jsonType}).text()
	members := envelopeIn(text)
	if read, err := readEnvelope(members); err != nil || read.keyID != name || read.encodings[0] != name || len(read.data) != 2 {
		t.Error(read, err)
	}
}

func TestAMebibyteOfNamesIsReadInAMoment(t *testing.T) {
	cipher, err := NewAESGCM(map[string][]byte{"a": testKey}, "a")
	if err != nil {
		t.Fatal(err)
	}
	all, err := NewEncodings(cipher)
	if err != nil {
		t.Fatal(err)
	}
	var names strings.Builder
	for number := range 120_000 {
		fmt.Fprintf(&names, `"%d",`, number)
	}
	text := []byte(`{"$jobqueue.encoded":1,"content_type":"application/json","encodings":[` +
		strings.TrimSuffix(names.String(), ",") + `],"data":""}`)
	began := time.Now()
	var unknown *EncodingUnknownError
	if _, err := all.opened(t.Context(), text, payloadPlace("k"), false); !errors.As(err, &unknown) || unknown.Name != "0" {
		t.Error(err)
	}
	// Compared each with each they took 20 s and more.
	if took := time.Since(began); took > 5*time.Second {
		t.Error(took)
	}
}

func TestAFunctionIsNotAskedForOneThatHasLeft(t *testing.T) {
	keys := newAskedKeys(func(context.Context, string) ([]byte, error) {
		t.Error("asked")
		return testKey, nil
	})
	gone := errors.New("gone")
	ctx, leave := context.WithCancelCause(t.Context())
	leave(gone)
	if key, err := keys.get(ctx, "a"); key != nil || !errors.Is(err, gone) || len(keys.asking) != 0 {
		t.Error(key, err)
	}
}

func TestAFunctionIsAskedForSoManyNamesAtOnceAndNotWaitedForForLongerThanThirtySeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		going := make(chan struct{})
		var running, most atomic.Int32
		keys := newAskedKeys(func(context.Context, string) ([]byte, error) { // it ignores its context
			if now := running.Add(1); now > most.Load() {
				most.Store(now)
			}
			defer running.Add(-1)
			<-going
			return testKey, nil
		})
		began := time.Now()
		answers := make(chan error, 3*mostAsked)
		for number := range cap(answers) {
			go func() {
				_, err := keys.get(t.Context(), fmt.Sprint("n", number))
				answers <- err
			}()
		}
		for range cap(answers) {
			if err := <-answers; !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "has not answered") {
				t.Error(err)
			}
		}
		if took := time.Since(began); took != askedWithin || most.Load() != mostAsked || len(keys.asking) != 0 {
			t.Error(took, most.Load(), len(keys.asking))
		}
		close(going)
		synctest.Wait()
		// What came late is not kept, and the function may be asked again.
		if len(keys.kept) != 0 || len(keys.turns) != 0 {
			t.Error(len(keys.kept), len(keys.turns))
		}
		if _, err := keys.get(t.Context(), "n0"); err != nil {
			t.Error(err)
		}
	})
}

func TestWhatAnEnvelopeSaysOfItselfIsToldInSoManyWords(t *testing.T) {
	names := []string{"zstd", "a\nb", strings.Repeat("n", 1000)}
	for number := range 100_000 {
		names = append(names, fmt.Sprint("e", number))
	}
	err := &EncodedError{Encodings: names, KeyID: "key of\x1b[2J", Why: "no"}
	said := err.Error()
	if !strings.HasPrefix(said, `encoded, zstd + "a\nb" + nnn`) || !strings.HasSuffix(said, `+ e4 + 99995 more, key "key of\x1b[2J": no`) ||
		len(said) > 600 {
		t.Error(said)
	}
	long := strings.Repeat("k", 1<<20)
	for _, each := range []error{&KeyUnknownError{long}, &EncodingUnknownError{long}, &EncodedError{KeyID: long}} {
		if len(each.Error()) > 400 {
			t.Errorf("%T has %d bytes", each, len(each.Error()))
		}
	}
}
