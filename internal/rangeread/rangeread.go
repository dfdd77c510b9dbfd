// Package rangeread turns range requests into an io.ReaderAt that asks for what
// is read and hardly anything more.
//
// Images are read in two ways: tables in small pieces close to one another, and
// data in large ones. Small reads go through a cache of aligned blocks, so that
// the next one close by costs no request. Large ones are fetched exactly, in
// pieces side by side.
package rangeread

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/fastimage/fastimage/internal/lru"
)

const (
	// block is what small reads fetch: the size of most L2 tables, and a
	// fraction of a millisecond of any network worth the name.
	block = 64 << 10
	// piece is the most that one request fetches of a large read.
	piece = 1 << 20
	// cacheSize is what is kept of small reads.
	cacheSize = 16 << 20
	// parallel is how many requests are under way at once. Reads of several
	// goroutines share them.
	parallel = 16
)

// ErrClosed means that the Reader was closed.
var ErrClosed = errors.New("rangeread: reader is closed")

// Fetch fills p with the bytes at off, which are all within the size. It ends
// when its context does, and is called from several goroutines.
type Fetch func(ctx context.Context, p []byte, off int64) error

// Reader reads by range requests. It is safe for concurrent use.
type Reader struct {
	size  int64
	fetch Fetch
	cache *lru.Cache[int64, []byte]
	slots chan struct{} // a token for each request that may be under way

	ctx    context.Context // of all requests: io.ReaderAt has none
	cancel context.CancelCauseFunc

	mu     sync.Mutex // guards closed
	closed bool
	wg     sync.WaitGroup // reads under way

	requests, bytes atomic.Int64
}

// New returns a Reader of size bytes. Reads end with Close only; ctx hands values
// to the requests.
func New(ctx context.Context, size int64, fetch Fetch) *Reader {
	r := &Reader{size: size, fetch: fetch, cache: lru.New[int64, []byte](cacheSize), slots: make(chan struct{}, parallel)}
	r.ctx, r.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	return r
}

// Size returns the bytes that can be read.
func (r *Reader) Size() int64 { return r.size }

// Requests returns how many requests there were, and the bytes they asked for.
func (r *Reader) Requests() (n, bytes int64) { return r.requests.Load(), r.bytes.Load() }

// Cancel ends all reads, those to come too, with that error.
func (r *Reader) Cancel(cause error) { r.cancel(cause) }

// Close ends all reads with ErrClosed and waits for them.
func (r *Reader) Close() error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cancel(ErrClosed)
	r.wg.Wait()
	return nil
}

// begin registers a read.
func (r *Reader) begin() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return ErrClosed
	}
	r.wg.Add(1)
	return nil
}

// ReadAt implements io.ReaderAt.
func (r *Reader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read at offset %d: %w", off, fs.ErrInvalid)
	}
	if off >= r.size {
		return 0, io.EOF
	}
	var eof error
	if int64(len(p)) > r.size-off {
		p, eof = p[:r.size-off], io.EOF
	}
	if err := r.begin(); err != nil {
		return 0, err
	}
	defer r.wg.Done()
	read := r.readLarge
	if len(p) < block {
		read = r.readSmall
	}
	if err := read(p, off); err != nil {
		return 0, err
	}
	return len(p), eof
}

// readSmall reads a range within one or two blocks.
func (r *Reader) readSmall(p []byte, off int64) error {
	for len(p) > 0 {
		start := off / block * block
		data, err := r.cache.Get(start, block, func() ([]byte, error) {
			b := make([]byte, min(block, r.size-start))
			return b, r.request(r.ctx, b, start)
		})
		if err != nil {
			return err
		}
		n := copy(p, data[off-start:])
		p, off = p[n:], off+int64(n)
	}
	return nil
}

func (r *Reader) readLarge(p []byte, off int64) error {
	if len(p) <= piece {
		return r.request(r.ctx, p, off)
	}
	g, ctx := errgroup.WithContext(r.ctx)
	g.SetLimit(parallel)
	for len(p) > 0 {
		part, at := p[:min(piece, len(p))], off
		g.Go(func() error { return r.request(ctx, part, at) })
		p, off = p[len(part):], off+int64(len(part))
	}
	return g.Wait()
}

func (r *Reader) request(ctx context.Context, p []byte, off int64) error {
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	r.requests.Add(1)
	r.bytes.Add(int64(len(p)))
	err := r.fetch(ctx, p, off)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
