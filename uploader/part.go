package uploader

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"io"
	"sync"

	"github.com/fastimage/fastimage/internal/ctxio"
)

// part is a part's bytes in memory, or a run of zeros that has none.
type part struct {
	n       int64
	data    []byte // nil if hole
	sum     [16]byte
	zero    bool // all zeros
	hole    bool // known to be zeros without reading
	release func()
}

// body returns a fresh reader for an attempt.
func (p *part) body() io.ReadSeeker {
	if p.hole {
		return io.NewSectionReader(zeros{}, 0, p.n)
	}
	return bytes.NewReader(p.data)
}

// readPart brings a part into memory, once, and hashes it. It returns as soon as
// the context ends, even if the source does not: then the source may write into
// the buffer yet, which is not used again.
func (s *session) readPart(ctx context.Context, num int32, body io.Reader) (*part, error) {
	if s.stream {
		p, err := streamPart(body)
		if err != nil {
			return nil, err
		}
		p.release = func() { s.unreserve(s.partSize) }
		return p, nil
	}
	off := int64(num-1) * s.partSize
	n := min(s.partSize, s.size-off)
	if err := s.opt.limiter.Reserve(ctx, n); err != nil {
		return nil, err
	}
	p, err := ctxio.Do(ctx, func() (*part, error) { return s.readRange(off, n) })
	if err != nil {
		s.opt.limiter.Release(n)
		return nil, err
	}
	p.release = func() {
		if p.data != nil {
			s.buffers.Recycle(p.data)
		}
		s.opt.limiter.Release(n)
	}
	return p, nil
}

// readRange reads a part of an io.ReaderAt.
func (s *session) readRange(off, n int64) (*part, error) {
	if s.holes != nil {
		empty, err := s.empty(off, n)
		if err != nil {
			return nil, err
		}
		if empty {
			return &part{n: n, sum: zeroSum(n), zero: true, hole: true}, nil
		}
	}
	p := &part{n: n, data: s.buffers.Buffer(n)}
	if err := s.fill(p.data, off); err != nil {
		s.buffers.Recycle(p.data)
		return nil, err
	}
	p.digest()
	return p, nil
}

// streamPart takes the bytes out of the manager's buffer without a copy:
// bytes.Reader hands them to WriteTo in one piece, and they stay valid until
// the manager gets its answer.
func streamPart(body io.Reader) (*part, error) {
	p := new(part)
	if r, ok := body.(*bytes.Reader); ok {
		var c capture
		if _, err := r.WriteTo(&c); err != nil {
			return nil, err
		}
		p.data = c.b
	} else {
		data, err := io.ReadAll(body)
		if err != nil {
			return nil, err
		}
		p.data = data
	}
	p.n = int64(len(p.data))
	p.digest()
	return p, nil
}

type capture struct{ b []byte }

func (c *capture) Write(b []byte) (int, error) {
	if c.b != nil {
		return 0, errors.New("uploader: part in more than one piece")
	}
	c.b = b
	return len(b), nil
}

func (p *part) digest() {
	p.zero = p.n > 0 && allZero(p.data)
	if p.zero {
		p.sum = zeroSum(p.n)
		return
	}
	p.sum = md5.Sum(p.data)
}

// empty reports whether the source says that there is no data in the range.
func (s *session) empty(off, n int64) (bool, error) {
	start, _, err := s.holes.NextData(off)
	if errors.Is(err, io.EOF) {
		return true, nil
	}
	if err != nil {
		return false, &sourceError{off, err}
	}
	return start >= off+n, nil
}

// fill reads the data extents of a range; holes are zeroed, not read.
func (s *session) fill(buf []byte, off int64) error {
	if s.holes == nil {
		return readFull(s.src, buf, off)
	}
	end := off + int64(len(buf))
	for pos := off; pos < end; {
		start, stop, err := s.holes.NextData(pos)
		if errors.Is(err, io.EOF) {
			start, stop = end, end
		} else if err != nil {
			return &sourceError{pos, err}
		}
		start, stop = min(max(start, pos), end), min(stop, end)
		clear(buf[pos-off : start-off])
		if start == end {
			return nil
		}
		if stop <= start {
			return &sourceError{pos, errors.New("extents do not advance")}
		}
		if err := readFull(s.src, buf[start-off:stop-off], start); err != nil {
			return err
		}
		pos = stop
	}
	return nil
}

func readFull(r io.ReaderAt, buf []byte, off int64) error {
	n, err := r.ReadAt(buf, off)
	if n == len(buf) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return &sourceError{off + int64(n), err}
}

// zeros is an endless source of zeros.
type zeros struct{}

func (zeros) ReadAt(p []byte, _ int64) (int, error) {
	clear(p)
	return len(p), nil
}

var zeroBlock [64 << 10]byte

// allZero compares block by block with memequal, the fastest way in pure Go; it
// stops at the first block with data.
func allZero(b []byte) bool {
	for len(b) > 0 {
		n := min(len(b), len(zeroBlock))
		if !bytes.Equal(b[:n], zeroBlock[:n]) {
			return false
		}
		b = b[n:]
	}
	return true
}

// zeroSums keeps the MD5 of runs of zeros: an upload has two lengths of them.
var zeroSums = struct {
	sync.Mutex // guards m
	m          map[int64][16]byte
}{m: map[int64][16]byte{}}

func zeroSum(n int64) (sum [16]byte) {
	zeroSums.Lock()
	defer zeroSums.Unlock()
	if sum, ok := zeroSums.m[n]; ok {
		return sum
	}
	h := md5.New()
	// Neither zeros nor a hash can fail.
	_, _ = io.Copy(h, io.NewSectionReader(zeros{}, 0, n))
	h.Sum(sum[:0])
	if len(zeroSums.m) > 64 {
		clear(zeroSums.m)
	}
	zeroSums.m[n] = sum
	return sum
}
