package jobqueuezstd

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"jobqueue.dev/go/internal/testhook"
	"jobqueue.dev/go/jobqueue"
)

// row is one of tests/clients/encodings.json.
type row struct {
	Name           string
	Purpose        string
	Kind           string
	JobID          string `json:"job_id"`
	ContentType    string `json:"content_type"`
	KeyID          string `json:"key_id"`
	IdempotencyKey string `json:"idempotency_key"`
	Content        string
	Envelope       string
	Write          bool
	Required       bool
	Error          string
}

func (r *row) place() testhook.Place {
	return testhook.Place{Purpose: r.Purpose, Kind: r.Kind, JobID: r.JobID, ContentType: r.ContentType}
}

func (r *row) content(t *testing.T) []byte {
	t.Helper()
	content, err := base64.RawURLEncoding.DecodeString(r.Content)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func vectors(t *testing.T) (map[string][]byte, []row) {
	t.Helper()
	text, err := os.ReadFile("../../../tests/clients/encodings.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Keys map[string]string
		Rows []row
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	keys := map[string][]byte{}
	for name, key := range file.Keys {
		if keys[name], err = hex.DecodeString(key); err != nil {
			t.Fatal(err)
		}
	}
	if len(file.Rows) < 40 {
		t.Fatalf("%d rows", len(file.Rows))
	}
	return keys, file.Rows
}

func encodings(t *testing.T, keys map[string][]byte, primary string) *jobqueue.Encodings {
	t.Helper()
	cipher, err := jobqueue.NewAESGCM(keys, primary)
	if err != nil {
		t.Fatal(err)
	}
	return listed(t, compressing(t), cipher)
}

func compressing(t *testing.T, options ...Option) jobqueue.Encoding {
	t.Helper()
	made, err := New(options...)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func listed(t *testing.T, list ...jobqueue.Encoding) *jobqueue.Encodings {
	t.Helper()
	made, err := jobqueue.NewEncodings(list...)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func sealed(t *testing.T, encodings *jobqueue.Encodings, data []byte, at testhook.Place, key string) []byte {
	t.Helper()
	text, err := testhook.Seal(context.Background(), encodings, data, at, key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestEachEnvelopeIsReadAsItsRowSays(t *testing.T) {
	keys, rows := vectors(t)
	for _, each := range rows {
		t.Run(each.Name, func(t *testing.T) {
			all := encodings(t, keys, "2026-10")
			opened, err := testhook.Open(context.Background(), all, []byte(each.Envelope), each.place(), each.Required)
			var damaged *jobqueue.UndecodableError
			var key *jobqueue.KeyUnknownError
			var encoding *jobqueue.EncodingUnknownError
			is := map[string]bool{
				"": err == nil, "Undecodable": errors.As(err, &damaged), "KeyUnknown": errors.As(err, &key),
				"EncodingUnknown": errors.As(err, &encoding),
			}
			if !is[each.Error] {
				t.Fatalf("%q, and not %q", err, each.Error)
			}
			if each.Error == "" && !bytes.Equal(opened, each.content(t)) {
				t.Fatalf("%s", opened)
			}
		})
	}
}

func TestEnvelopesAreWrittenByteForByte(t *testing.T) {
	keys, rows := vectors(t)
	written := 0
	for _, each := range rows {
		if each.Write {
			written++
			all := encodings(t, keys, each.KeyID)
			if made := sealed(t, all, each.content(t), each.place(), each.IdempotencyKey); string(made) != each.Envelope {
				t.Errorf("%s: %s", each.Name, made)
			}
		}
	}
	if written < 8 {
		t.Fatal(written)
	}
}

func TestWhatARowHoldsIsWrittenAndReadAgain(t *testing.T) {
	keys, rows := vectors(t)
	for _, each := range rows {
		if each.Error != "" {
			continue
		}
		all, content := encodings(t, keys, "2026-10"), each.content(t)
		made := sealed(t, all, content, each.place(), "")
		var said struct{ Encodings []string }
		if err := json.Unmarshal(made, &said); err != nil {
			t.Fatal(err)
		}
		wanted := []string{"aes256gcm"}
		if len(content) > 2048 {
			wanted = []string{"zstd", "aes256gcm"}
		}
		if !slices.Equal(said.Encodings, wanted) {
			t.Errorf("%s: %v", each.Name, said.Encodings)
		}
		opened, err := testhook.Open(context.Background(), all, made, each.place(), false)
		if err != nil || !bytes.Equal(opened, content) {
			t.Errorf("%s: %s %v", each.Name, opened, err)
		}
	}
}

func TestWhatIsShortOrDoesNotShrinkIsNotCompressed(t *testing.T) {
	ten := compressing(t, Over(10))
	noise := make([]byte, 90)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(noise)
	for _, each := range [][]byte{[]byte(`"10 bytes"`), noise} {
		if packed, err := ten.Encode(each, jobqueue.Coding{}); packed != nil || err != nil {
			t.Errorf("%q %v", packed, err)
		}
	}
	if packed, err := ten.Encode([]byte(strings.Repeat("a", 100)), jobqueue.Coding{}); len(packed) == 0 || err != nil {
		t.Error(packed, err)
	}
}

func TestAFrameSaysItsLengthWhateverThatIs(t *testing.T) {
	for _, level := range []int{1, 3, 8, 19} {
		made := compressing(t, Over(0), Level(level))
		for _, length := range []int{40, 255, 256, 257, 5000, 65_535, 65_791, 65_792, 1 << 20, 1<<20 + 1, 4 << 20} {
			data := bytes.Repeat([]byte("to be "), length)[:length]
			packed, err := made.Encode(data, jobqueue.Coding{})
			if packed == nil || err != nil {
				t.Fatal(level, length, err)
			}
			if found, err := made.Decode(packed, jobqueue.Coding{}); err != nil || !bytes.Equal(found, data) {
				t.Error(level, length, err)
			}
		}
	}
}

func TestMoreThanIsTakenIsRefusedOnBothSides(t *testing.T) {
	long := []byte(strings.Repeat("to be or not to be ", 200))
	small := compressing(t, Over(10), Most(1000))
	if _, err := small.Encode(long, jobqueue.Coding{}); err == nil || !strings.Contains(err.Error(), "more than Most(1000)") {
		t.Error(err)
	}
	packed, _ := compressing(t).Encode(long, jobqueue.Coding{})
	_, err := small.Decode(packed, jobqueue.Coding{})
	if err == nil || !strings.Contains(err.Error(), "at most 1000") {
		t.Error(err)
	}
}

// 1000 blocks of 128 KiB each, of which none is the last.
var beyond = bytes.Repeat([]byte{0x02, 0x00, 0x10, 0x41}, 1000)

func frame(said uint32, blocks []byte) []byte {
	text := binary.LittleEndian.AppendUint32([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x80, 0x38}, said)
	return append(text, blocks...)
}

func TestAFrameThatGoesOnPastItsLengthTakesNoMoreMemoryThanThat(t *testing.T) {
	made := compressing(t, Most(16*mebibyte))
	ended := append(slices.Clone(beyond), 0x03, 0x00, 0x10, 0x41)
	for _, said := range []uint32{mebibyte, 16 * mebibyte} {
		for name, blocks := range map[string][]byte{"without an end": beyond, "with an end": ended} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := made.Decode(frame(said, blocks), jobqueue.Coding{})
			runtime.ReadMemStats(&after)
			var damaged *jobqueue.UndecodableError
			if !errors.As(err, &damaged) {
				t.Errorf("%d, %s: %v", said, name, err)
			}
			if taken := after.TotalAlloc - before.TotalAlloc; taken > 2*uint64(said)+8*mebibyte {
				t.Errorf("%d, %s: %d bytes", said, name, taken)
			}
		}
	}
}

func TestOneFrameAloneIsRead(t *testing.T) {
	made := compressing(t, Over(0))
	data := bytes.Repeat([]byte("a"), 1000)
	packed, _ := made.Encode(data, jobqueue.Coding{})
	encoder, _ := zstd.NewWriter(nil)
	empty := encoder.EncodeAll([]byte{}, nil)
	skipped := append([]byte{0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0}, 0)
	for name, wrong := range map[string][]byte{
		"nothing": {}, "twice": append(slices.Clone(packed), packed...), "and one that is skipped": append(slices.Clone(packed), skipped...),
		"behind one that is skipped": append(slices.Clone(skipped), packed...), "an empty one": empty,
		"and an empty one": append(slices.Clone(packed), empty...), "cut": packed[:len(packed)-1], "no frame": []byte(`{"a":1}`),
		"said to be longer":  frame(1001, []byte{0x03 | 0x40, 0x1f, 0x00, 'a'}),
		"said to be shorter": frame(999, []byte{0x03 | 0x40, 0x1f, 0x00, 'a'}),
		"a last block only":  frame(1000, []byte{0x07, 0, 0}),
	} {
		found, err := made.Decode(wrong, jobqueue.Coding{})
		var damaged *jobqueue.UndecodableError
		if !errors.As(err, &damaged) || found != nil {
			t.Errorf("%s: %q %v", name, found, err)
		}
	}
	if found, err := made.Decode(frame(1000, []byte{0x03 | 0x40, 0x1f, 0x00, 'a'}), jobqueue.Coding{}); err != nil ||
		!bytes.Equal(found, data) {
		t.Errorf("%q %v", found, err)
	}
}

func TestWhatIsDamagedIsUndecodableAndNothingElse(t *testing.T) {
	made := compressing(t, Over(0), Most(mebibyte))
	packed, _ := made.Encode([]byte(strings.Repeat("to be or not to be, that is ", 90)), jobqueue.Coding{})
	random := rand.New(rand.NewPCG(7, 7))
	for range 20_000 {
		wrong := slices.Clone(packed)[:random.IntN(len(packed))+1]
		for range 1 + random.IntN(4) {
			wrong[random.IntN(len(wrong))] ^= byte(1 << random.IntN(8))
		}
		_, err := made.Decode(wrong, jobqueue.Coding{})
		var damaged *jobqueue.UndecodableError
		if err != nil && !errors.As(err, &damaged) {
			t.Fatal(err)
		}
	}
}

func TestAKeyedJobIsCompressedWhereThatIsAskedForAndItsNonceIsOfTheCompressedBytes(t *testing.T) {
	keys := map[string][]byte{"a": bytes.Repeat([]byte{1}, 32)}
	cipher, err := jobqueue.NewAESGCM(keys, "a")
	if err != nil {
		t.Fatal(err)
	}
	at := testhook.Place{Purpose: "payload", Kind: "mail", ContentType: "application/json"}
	words, random := strings.Fields("to be or not to be that is the question"), rand.New(rand.NewPCG(1, 1))
	text := `"`
	for range 800 {
		text += words[random.IntN(len(words))] + " "
	}
	long := []byte(text + `"`)
	plain := listed(t, compressing(t), cipher)
	one := sealed(t, plain.WithKeyedCompression(), long, at, "k")
	two := sealed(t, listed(t, compressing(t, Level(1)), cipher).WithKeyedCompression(), long, at, "k")
	if len(one) > len(long)/2 || len(sealed(t, plain, long, at, "k")) < len(long) {
		t.Error(len(one))
	}
	nonce := func(text []byte) string {
		var said struct{ Data string }
		_ = json.Unmarshal(text, &said)
		return said.Data[:16]
	}
	// The same text, compressed in another way: with one nonce for both, their difference would be readable.
	if bytes.Equal(one, two) || nonce(one) == nonce(two) {
		t.Error("one nonce for two contents")
	}
	for _, each := range [][]byte{one, two} {
		if opened, err := testhook.Open(context.Background(), plain, each, at, true); err != nil || !bytes.Equal(opened, long) {
			t.Error(err)
		}
	}
}

func TestANumberOutOfItsRangeIsRefused(t *testing.T) {
	for _, each := range []Option{Over(-1), Level(0), Level(20), Most(0)} {
		if _, err := New(each); err == nil {
			t.Error("taken")
		}
	}
}
