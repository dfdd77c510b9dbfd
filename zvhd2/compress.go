package zvhd2

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"
)

// LevelCounts counts blocks by what was done to them.
type LevelCounts struct {
	Fastest, Default, Better, Best int64 // compressed at that level
	Incompressible                 int64 // stored as they are, because no level gains on them
	Kept                           int64 // payloads of the input that are canonical already
}

// String lists the counts that are not zero, such as "12 default, 3 incompressible".
func (c LevelCounts) String() string {
	var parts []string
	for _, p := range []struct {
		name string
		n    int64
	}{
		{"fastest", c.Fastest}, {"default", c.Default}, {"better", c.Better}, {"best", c.Best},
		{"incompressible", c.Incompressible}, {"kept", c.Kept},
	} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.name))
		}
	}
	return strings.Join(parts, ", ")
}

// coding is how a payload came about: a level, or one of these.
type coding int

const (
	codingIncompressible coding = 0
	codingKept                  = coding(LevelBest) + 1
)

// add counts a block.
func (c *LevelCounts) add(how coding) {
	*[...]*int64{
		codingIncompressible: &c.Incompressible, LevelFastest: &c.Fastest, LevelDefault: &c.Default,
		LevelBetter: &c.Better, LevelBest: &c.Best, codingKept: &c.Kept,
	}[how]++
}

// compressor makes records of blocks; each worker has an encoder of its own,
// so that none waits for another.
type compressor struct {
	level   Level
	workers []worker
	auto    pace
}

type worker struct {
	enc [LevelBest + 1]*zstd.Encoder // by level, made when first needed
	raw []byte                       // the block read
	sub []byte                       // the probe's output
}

func newCompressor(level Level, workers int) *compressor {
	c := &compressor{level: level, workers: make([]worker, workers)}
	c.auto.level.Store(int64(LevelDefault))
	return c
}

// blockBuffer returns the worker's block buffer.
func (c *compressor) blockBuffer(worker int) []byte {
	w := &c.workers[worker]
	if w.raw == nil {
		w.raw = make([]byte, BlockSize)
	}
	return w.raw
}

// compress makes the job's record of src, a block of BlockSize bytes that is not
// all zero.
func (c *compressor) compress(worker int, j *encodeJob, src []byte) error {
	w, dst := &c.workers[worker], j.buffer()
	if !w.compressible(src) {
		j.seal(appendStored(dst, src), codingIncompressible)
		return nil
	}
	level := c.level
	if level == LevelAuto {
		level = Level(c.auto.level.Load())
	}
	enc, err := w.encoder(level)
	if err != nil {
		return err
	}
	rec := enc.EncodeAll(src, dst)
	if recordSize(int64(len(rec)-recordHeaderSize)) > maxRecord {
		j.seal(appendStored(dst, src), codingIncompressible)
	} else {
		j.seal(rec, coding(level))
	}
	return nil
}

var encoderLevels = [...]zstd.EncoderLevel{
	LevelFastest: zstd.SpeedFastest, LevelDefault: zstd.SpeedDefault,
	LevelBetter: zstd.SpeedBetterCompression, LevelBest: zstd.SpeedBestCompression,
}

func (w *worker) encoder(level Level) (*zstd.Encoder, error) {
	if w.enc[level] == nil {
		enc, err := zstd.NewWriter(nil,
			zstd.WithEncoderLevel(encoderLevels[level]),
			zstd.WithEncoderConcurrency(1),
			zstd.WithEncoderCRC(false),
			zstd.WithSingleSegment(true), // puts the content size in, and no window
			zstd.WithWindowSize(BlockSize),
			// The history need not hold more than the block: half the memory.
			zstd.WithLowerEncoderMem(true),
		)
		if err != nil {
			return nil, pkg.Errorf("set up compressor: %w", err)
		}
		w.enc[level] = enc
	}
	return w.enc[level], nil
}

// pace is the controller of [LevelAuto]. It weighs, over the last blocks, the
// time that the output waited for blocks against the time it was busy with
// them, and moves the level a step when one of the two is the bottleneck. LevelBest
// is left out: its tables take 34 MiB a worker for a few percent.
type pace struct {
	level atomic.Int64 // read by workers; what follows is observe's alone

	wait, busy float64 // seconds, decaying
	delay      int     // blocks until a step shows in the times
	hold       int     // blocks to go before the next step
}

// Share of the time that the output waits above which the compressor is held
// for the bottleneck, and below which the output is. In between both keep up.
const (
	waitHigh = 0.30
	waitLow  = 0.10
)

func (p *pace) observe(wait, busy time.Duration) {
	const keep = 0.75 // about the last four blocks count
	p.wait = p.wait*keep + wait.Seconds()
	p.busy = p.busy*keep + busy.Seconds()
	if p.hold--; p.hold > 0 {
		return
	}
	level := p.level.Load()
	share := p.wait / max(p.wait+p.busy, 1e-9)
	switch {
	case share > waitHigh && level > int64(LevelFastest):
		level--
	case share < waitLow && level < int64(LevelBetter):
		level++
	default:
		return
	}
	p.level.Store(level)
	p.hold = p.delay
}

// The probe looks at probeChunks runs of probeSize bytes spread over a block.
const (
	probeChunks = 32
	probeSize   = 2 << 10

	// Random bytes in a sample of 64 KiB measure 7.997 bits each, the output
	// of strong compressors 7.99; executables and media headers stay below.
	probeEntropy = 7.98
)

// compressible looks for blocks that no level gains on, such as encrypted or
// already compressed data, at about one percent of the cost of compressing
// them. A block passes for incompressible only if neither the frequency of
// its bytes nor a trial compression of the sample shows any gain.
func (w *worker) compressible(src []byte) bool {
	var hist [4][256]uint32 // four tables: no store waits for the one before
	const stride = BlockSize / probeChunks
	for i := 0; i < BlockSize; i += stride {
		for chunk := src[i : i+probeSize]; len(chunk) > 0; chunk = chunk[4:] {
			hist[0][chunk[0]]++
			hist[1][chunk[1]]++
			hist[2][chunk[2]]++
			hist[3][chunk[3]]++
		}
	}
	if entropy(&hist) < probeEntropy {
		return true
	}
	enc, err := w.encoder(LevelFastest)
	if err != nil {
		return true
	}
	// A quarter of the block, in one run: matches further apart than the
	// sample's chunks show only in a run of some length.
	const run = 128 << 10
	for _, at := range [...]int{0, BlockSize/2 - run, BlockSize - run} {
		w.sub = enc.EncodeAll(src[at:at+run], w.sub[:0])
		if len(w.sub) < run-run/256 {
			return true
		}
	}
	return false
}

// entropy returns the order-0 entropy in bits per byte.
func entropy(hist *[4][256]uint32) float64 {
	const total = probeChunks * probeSize
	bits := 0.0
	for i := range 256 {
		if n := hist[0][i] + hist[1][i] + hist[2][i] + hist[3][i]; n > 0 {
			bits -= float64(n) * math.Log2(float64(n)/total)
		}
	}
	return bits / total
}

// storedBlock is the most that one raw block of a zstd frame may hold.
const storedBlock = 128 << 10

// appendStored appends src as a zstd frame of raw blocks (RFC 8878, 3.1.1):
// single segment, a content size of four bytes, no checksum.
func appendStored(dst, src []byte) []byte {
	dst = append(dst, 0x28, 0xb5, 0x2f, 0xfd, 0xa0)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(src)))
	for len(src) > 0 {
		n := min(len(src), storedBlock)
		h := uint32(n) << 3
		if n == len(src) {
			h |= 1 // last block
		}
		dst = append(dst, byte(h), byte(h>>8), byte(h>>16))
		dst = append(dst, src[:n]...)
		src = src[n:]
	}
	return dst
}
