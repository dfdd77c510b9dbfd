package quickimport

import (
	"context"
	"runtime"
	"sync/atomic"

	"golang.org/x/sync/semaphore"

	"github.com/fastimage/fastimage/uploader"
)

// Limits bound what all imports of a client use together. 0 means the default.
type Limits struct {
	// Parts is how many parts are sent at once, 1 to 1024. Default 16.
	Parts int
	// Encoders is how many blocks are compressed at once, 1 to 1024. Default: one
	// per core. Imports that run at the same time share them; one that finds none
	// left waits before its upload.
	Encoders int
	// BufferedBytes is how many bytes of parts are in memory, at least 16 MiB. An
	// upload in progress has at least one part. Default 256 MiB.
	BufferedBytes int64
	// BytesPerSecond is how fast bodies are sent, at least 1024. Default: no limit.
	BytesPerSecond int64
}

const (
	defaultParts    = 16
	defaultBuffered = 256 << 20
	leastBuffered   = 16 << 20
	mostLimit       = 1024
)

// WithLimits sets what all imports of the client use together. Options of one
// import, such as [WithConcurrency], stay within these limits.
func WithLimits(l Limits) Option {
	return func(o *options) error {
		if l.Parts < 0 || l.Parts > mostLimit || l.Encoders < 0 || l.Encoders > mostLimit ||
			l.BufferedBytes < 0 || l.BufferedBytes > 0 && l.BufferedBytes < leastBuffered || l.BytesPerSecond < 0 || l.BytesPerSecond > 0 && l.BytesPerSecond < 1024 {
			return pkg.Errorf("limits %+v: want at most 1024 parts and encoders, at least 16 MiB of buffers and 1024 bytes per second", l)
		}
		o.limits = l
		return nil
	}
}

// budget is what the imports of a client share.
type budget struct {
	uploads *uploader.Limiter

	encoders int64
	slots    *semaphore.Weighted // for encoders
	active   atomic.Int64        // imports that are running
}

func newBudget(l Limits) (*budget, error) {
	set := func(v *int, def int) {
		if *v == 0 {
			*v = def
		}
	}
	set(&l.Parts, defaultParts)
	set(&l.Encoders, runtime.GOMAXPROCS(0))
	if l.BufferedBytes == 0 {
		l.BufferedBytes = defaultBuffered
	}
	uploads, err := uploader.NewLimiter(uploader.Limits{Parts: l.Parts, BufferedBytes: l.BufferedBytes, BytesPerSecond: l.BytesPerSecond})
	if err != nil {
		return nil, err
	}
	return &budget{uploads: uploads, encoders: int64(l.Encoders), slots: semaphore.NewWeighted(int64(l.Encoders))}, nil
}

// enter counts an import while it runs; call leave at its end.
func (b *budget) enter() (leave func()) {
	b.active.Add(1)
	return func() { b.active.Add(-1) }
}

// encode waits for encoders: a fair share of all, or as many as were asked for if
// that is less. It is called before an upload holds any buffer, so that imports
// do not wait for each other in a circle.
func (b *budget) encode(ctx context.Context, asked int) (workers int, release func(), err error) {
	n := max(b.encoders/max(b.active.Load(), 1), 1)
	if asked > 0 {
		n = min(n, int64(asked))
	}
	if err := b.slots.Acquire(ctx, n); err != nil {
		return 0, nil, context.Cause(ctx)
	}
	return int(n), func() { b.slots.Release(n) }, nil
}
