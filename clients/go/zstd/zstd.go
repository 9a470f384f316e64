// Package jobqueuezstd compresses payloads, outputs and checkpoints by Zstandard:
//
//	compressor, err := jobqueuezstd.New()
//	encodings, err := jobqueue.NewEncodings(compressor, cipher)
//
// What others may choose a part of should not be compressed and then encrypted: its length tells of the rest.
package jobqueuezstd

import (
	"fmt"

	"github.com/klauspost/compress/zstd"

	"jobqueue.dev/go/jobqueue"
)

const mebibyte = 1024 * 1024

// Option is one setting of [New].
type Option func(*compressor)

// Over: what has as many bytes or fewer is left as it is. Default: 2048.
func Over(bytes int) Option { return func(c *compressor) { c.over = bytes } }

// Level is 1 (fast) to 19 (small). Default: 3.
func Level(level int) Option { return func(c *compressor) { c.level = level } }

// Most is how many bytes something may have decompressed; more is refused on both sides. Default: 4 MiB.
func Most(bytes int) Option { return func(c *compressor) { c.most = bytes } }

// compressor is the encoding `zstd`. The library's coders are for many goroutines at once.
type compressor struct {
	over, level, most int
	encoder           *zstd.Encoder
	decoder           *zstd.Decoder
}

// New makes the encoding. What does not become shorter is left as it is. The error is that a number is out of its range.
func New(options ...Option) (jobqueue.Encoding, error) {
	made := &compressor{over: 2048, level: 3, most: 4 * mebibyte}
	for _, option := range options {
		option(made)
	}
	switch {
	case made.over < 0:
		return nil, fmt.Errorf("Over(%d): it is 0 or more bytes", made.over)
	case made.level < 1 || made.level > 19:
		return nil, fmt.Errorf("Level(%d): it is 1 to 19", made.level)
	case made.most < 1:
		return nil, fmt.Errorf("Most(%d): it is 1 or more bytes", made.most)
	}
	var err error
	level := zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(made.level))
	// A frame of one segment says its length, however short it is.
	if made.encoder, err = zstd.NewWriter(nil, level, zstd.WithSingleSegment(true)); err != nil {
		return nil, err
	}
	// What is decompressed is bounded by its buffer.
	made.decoder, err = zstd.NewReader(nil, zstd.WithDecodeAllCapLimit(true))
	return made, err
}

func (c *compressor) Name() string { return "zstd" }

func (c *compressor) Encode(data []byte, _ jobqueue.Coding) ([]byte, error) {
	if len(data) > c.most {
		return nil, fmt.Errorf("%d bytes are more than Most(%d) takes", len(data), c.most)
	}
	if len(data) <= c.over {
		return nil, nil
	}
	packed := c.encoder.EncodeAll(data, nil)
	if len(packed) >= len(data) {
		return nil, nil
	}
	return packed, nil
}

// Decode is the content of one frame, which says how long it is. It is decompressed into a buffer of that length: a frame
// of 4 kB can say 1 MiB and go on to 125.
func (c *compressor) Decode(data []byte, _ jobqueue.Coding) ([]byte, error) {
	var header zstd.Header
	if err := header.Decode(data); err != nil || header.Skippable {
		return nil, undecodable("it is no frame")
	}
	size := header.FrameContentSize
	if !header.HasFCS || size == 0 || size > uint64(c.most) {
		return nil, undecodable("the content's length must be said, be above 0 and at most %d", c.most)
	}
	if !alone(data, &header) {
		return nil, undecodable("it is no whole frame alone")
	}
	content, err := c.decoder.DecodeAll(data, make([]byte, 0, size))
	if err != nil {
		return nil, undecodable("%v", err)
	}
	if uint64(len(content)) != size {
		return nil, undecodable("it is no whole frame alone")
	}
	return content, nil
}

// alone says whether the data is the blocks of this frame, and nothing behind them.
func alone(data []byte, header *zstd.Header) bool {
	at := header.HeaderSize
	for last := false; !last; {
		if len(data)-at < 3 {
			return false
		}
		block := int(data[at]) | int(data[at+1])<<8 | int(data[at+2])<<16
		last = block&1 == 1
		at += 3
		if block>>1&3 == 1 {
			at++ // one byte, which is repeated
		} else {
			at += block >> 3
		}
	}
	if header.HasCheckSum {
		at += 4
	}
	return at == len(data)
}

func undecodable(format string, arguments ...any) error {
	return &jobqueue.UndecodableError{Message: "zstd: " + fmt.Sprintf(format, arguments...)}
}
