package cloud

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"
)

// Limits bound what all transfers that share a Limiter use together. 0 means no
// limit.
type Limits struct {
	BytesPerSecond int64 // of request bodies; 0 or at least 1024
	Parts          int   // parts in flight
	BufferedBytes  int64 // of parts in memory
}

// A Limiter holds transfers to common limits. A nil *Limiter has none.
//
// Whoever waits for buffers must not hold a place that another transfer needs to
// release its own: an encoder, for instance, gives up its slot before it writes
// to an upload.
type Limiter struct {
	limits Limits
	rate   *rate.Limiter
	parts  *semaphore.Weighted
	bytes  *semaphore.Weighted

	mu   sync.Mutex // guards free
	free [][]byte   // part buffers to use again
	idle int64      // their bytes, at most BufferedBytes
}

// NewLimiter returns a limiter. Limits that are negative, or a rate below 1024
// bytes per second, are an error.
func NewLimiter(l Limits) (*Limiter, error) {
	if l.BytesPerSecond < 0 || l.BytesPerSecond > 0 && l.BytesPerSecond < 1024 || l.Parts < 0 || l.BufferedBytes < 0 {
		return nil, fmt.Errorf("limits of %d bytes per second, %d parts, %d buffered bytes", l.BytesPerSecond, l.Parts, l.BufferedBytes)
	}
	x := &Limiter{limits: l}
	if l.BytesPerSecond > 0 {
		// A tenth of a second's worth at once keeps the flow even.
		x.rate = rate.NewLimiter(rate.Limit(l.BytesPerSecond), int(min(max(l.BytesPerSecond/10, 1024), 1<<20)))
	}
	if l.Parts > 0 {
		x.parts = semaphore.NewWeighted(int64(l.Parts))
	}
	if l.BufferedBytes > 0 {
		x.bytes = semaphore.NewWeighted(l.BufferedBytes)
	}
	return x, nil
}

// Limits returns what the limiter was made with.
func (l *Limiter) Limits() Limits {
	if l == nil {
		return Limits{}
	}
	return l.limits
}

// Burst is how many bytes Wait lets through at once; 0 if there is no limit.
func (l *Limiter) Burst() int {
	if l == nil || l.rate == nil {
		return 0
	}
	return l.rate.Burst()
}

// Wait waits until n bytes may be sent.
func (l *Limiter) Wait(ctx context.Context, n int) error {
	if l == nil || l.rate == nil {
		return nil
	}
	for n > 0 {
		k := min(n, l.rate.Burst())
		// Not WaitN, which fails at once when the context's deadline is too near.
		r := l.rate.ReserveN(time.Now(), k)
		if err := Sleep(ctx, r.Delay()); err != nil {
			r.Cancel()
			return err
		}
		n -= k
	}
	return nil
}

// StartPart waits for a place for a part in flight; call end when it is done.
func (l *Limiter) StartPart(ctx context.Context) (end func(), err error) {
	if l == nil || l.parts == nil {
		return func() {}, nil
	}
	if err := l.parts.Acquire(ctx, 1); err != nil {
		return nil, context.Cause(ctx)
	}
	return func() { l.parts.Release(1) }, nil
}

// Reserve waits until n more bytes may be in memory. One reservation larger than
// the limit gets all of it. Give them back by Release with the same n.
func (l *Limiter) Reserve(ctx context.Context, n int64) error {
	if l == nil || l.bytes == nil {
		return nil
	}
	if err := l.bytes.Acquire(ctx, min(n, l.limits.BufferedBytes)); err != nil {
		return context.Cause(ctx)
	}
	return nil
}

// Release gives back what Reserve reserved.
func (l *Limiter) Release(n int64) {
	if l != nil && l.bytes != nil {
		l.bytes.Release(min(n, l.limits.BufferedBytes))
	}
}

// Buffer returns a buffer of n bytes for which bytes are reserved, one that
// another transfer has used if there is one. What it holds is arbitrary.
func (l *Limiter) Buffer(n int64) []byte {
	if l == nil || l.bytes == nil {
		return make([]byte, n)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, b := range l.free {
		if int64(cap(b)) >= n {
			l.free[i] = l.free[len(l.free)-1]
			l.free = l.free[:len(l.free)-1]
			l.idle -= int64(cap(b))
			return b[:n]
		}
	}
	l.free, l.idle = nil, 0 // all too small: idle memory must not come on top
	return make([]byte, n)
}

// Recycle takes a buffer back.
func (l *Limiter) Recycle(b []byte) {
	if l == nil || l.bytes == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.idle+int64(cap(b)) <= l.limits.BufferedBytes {
		l.free = append(l.free, b)
		l.idle += int64(cap(b))
	}
}
