package bitmap

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bits-and-blooms/bitset"
	"github.com/fastimage/fastimage/bitmap/internal/wire"
	"github.com/fastimage/fastimage/internal/sparse"
	"golang.org/x/sync/errgroup"
)

const (
	// pieceSize is what a worker reads at once: small enough to be compared
	// while it is still in the core's second-level cache, large enough for the
	// system call not to count.
	pieceSize = 256 << 10
	// unitSize is what a worker takes at once, if blocks are not larger.
	unitSize = 2 << 20

	reportEvery = 200 * time.Millisecond
)

// Scan reads a RAW disk of size bytes and returns which of its blocks hold
// data. Blocks are read in parallel, a block only up to its first byte that is
// not zero. If ra has a method
//
//	NextData(off int64) (start, end int64, err error)
//
// (see the package comment) only what it calls data is read. Memory is that of
// the bitmap and 256 KiB per worker, whatever the size of the disk.
//
// When ctx ends Scan returns at once, even while ra is blocked: a read in progress
// is abandoned, and ra may still be in use when Scan returns.
func Scan(ctx context.Context, ra io.ReaderAt, size int64, opts ...Option) (*Bitmap, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	if ra == nil {
		return nil, invalid("no disk to scan")
	}
	blocks, err := countBlocks(size, o.blockSize)
	if err != nil {
		return nil, err
	}
	s := &scanner{
		ra: ra, finder: sparse.Of(ra), size: size, blockSize: o.blockSize,
		words: make([]uint64, wire.CeilDiv(blocks, 64)),
		unit:  max(unitSize, o.blockSize),
	}
	stop := s.report(o.progress)
	g, gctx := errgroup.WithContext(ctx)
	for range o.workers {
		g.Go(func() error { return s.work(gctx) })
	}
	done := make(chan error, 1)
	go func() { done <- g.Wait() }()
	select {
	case err = <-done:
	case <-ctx.Done(): // a read may be blocked: it is abandoned
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	stop(err == nil)
	if err != nil {
		return nil, err
	}
	return &Bitmap{size: size, blockSize: o.blockSize, set: bitset.FromWithLength(uint(blocks), s.words)}, nil
}

type scanner struct {
	ra        io.ReaderAt
	finder    sparse.Finder
	size      int64
	blockSize int64
	unit      int64
	words     []uint64 // changed by atomic or only: neighbours share a word

	mu       sync.Mutex // guards the cursor: what follows
	pos      int64      // everything before it has been assigned
	from, to int64      // the extent that pos is in or before

	done, read atomic.Int64
}

// next returns the next range that may hold data, within one unit, so that a
// block which is not larger than a unit is the work of one worker. ok is false
// at the end.
func (s *scanner) next() (start, end int64, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pos >= s.size {
		return 0, 0, false, nil
	}
	if s.pos >= s.to {
		if err := s.advance(); err != nil {
			s.pos = s.size // the other workers stop too
			return 0, 0, false, err
		}
	}
	start = max(s.pos, s.from)
	if start >= s.size {
		s.done.Add(s.size - s.pos)
		s.pos = s.size
		return 0, 0, false, nil
	}
	end = min(s.to, start-start%s.unit+s.unit, s.size)
	s.done.Add(start - s.pos) // the hole before it
	s.pos = end
	return start, end, true, nil
}

// advance finds the extent at or after pos.
func (s *scanner) advance() error {
	from, to, err := sparse.NextData(s.finder, s.pos, s.size)
	if err == io.EOF {
		from, to, err = s.size, s.size, nil
	}
	if err != nil {
		return pkg.Errorf("scan: extents at %d: %w", s.pos, err)
	}
	s.from, s.to = from, to
	return nil
}

func (s *scanner) work(ctx context.Context) error {
	buf := make([]byte, min(pieceSize, max(s.size, 1)))
	for {
		start, end, ok, err := s.next()
		if err != nil || !ok {
			return err
		}
		if err := s.scanRange(ctx, buf, start, end); err != nil {
			return err
		}
		s.done.Add(end - start)
	}
}

// scanRange reads [start, end), piece by piece, and leaves out what remains
// of a block once it is known to hold data.
func (s *scanner) scanRange(ctx context.Context, buf []byte, start, end int64) error {
	for off := start; off < end; {
		if err := ctx.Err(); err != nil {
			return err
		}
		if s.test(off / s.blockSize) {
			off = min(end, (off/s.blockSize+1)*s.blockSize)
			continue
		}
		// Pieces end at multiples of their size, hence of smaller blocks' too.
		p := buf[:min(int64(len(buf)), end-off, pieceSize-off%pieceSize)]
		n, err := s.ra.ReadAt(p, off)
		s.read.Add(int64(n))
		if n < len(p) {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF // the disk is shorter than its size
			}
			return pkg.Errorf("scan: read at %d: %w", off+int64(n), err)
		}
		s.mark(p, off)
		off += int64(n)
	}
	return nil
}

// mark sets the bits of the blocks that have a byte other than zero in p.
func (s *scanner) mark(p []byte, off int64) {
	for len(p) > 0 {
		i := off / s.blockSize
		n := min(int64(len(p)), (i+1)*s.blockSize-off)
		if !sparse.IsZero(p[:n]) {
			atomic.OrUint64(&s.words[i/64], 1<<(i%64))
		}
		p, off = p[n:], off+n
	}
}

func (s *scanner) test(i int64) bool {
	return atomic.LoadUint64(&s.words[i/64])&(1<<(i%64)) != 0
}

// report starts the goroutine that calls f; the returned function stops it and
// makes the last report.
func (s *scanner) report(f func(Progress)) (stop func(ok bool)) {
	if f == nil {
		return func(bool) {}
	}
	quit, stopped := make(chan struct{}), make(chan struct{})
	now := func() Progress { return Progress{Done: s.done.Load(), Total: s.size, Read: s.read.Load()} }
	go func() {
		defer close(stopped)
		t := time.NewTicker(reportEvery)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				f(now())
			case <-quit:
				return
			}
		}
	}()
	return func(ok bool) {
		close(quit)
		<-stopped
		last := now()
		if ok {
			last.Done = last.Total
		}
		f(last)
	}
}
