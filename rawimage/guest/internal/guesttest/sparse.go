package guesttest

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/klauspost/compress/zstd"
)

const page = 4096

// Sparse is a disk of which only pages that are not zero are kept.
type Sparse struct {
	size  int64
	pages map[int64][]byte
}

// NewSparse reads a disk.
func NewSparse(ra io.ReaderAt, size int64) (*Sparse, error) {
	s := &Sparse{size, map[int64][]byte{}}
	zero := make([]byte, page)
	for n := int64(0); n*page < size; n++ {
		p := make([]byte, min(page, size-n*page))
		if _, err := ra.ReadAt(p, n*page); err != nil && err != io.EOF {
			return nil, err
		}
		if !bytes.Equal(p, zero[:len(p)]) {
			s.pages[n] = p
		}
	}
	return s, nil
}

// Size returns the size of the disk.
func (s *Sparse) Size() int64 { return s.size }

// Pages returns the numbers of the pages that are kept.
func (s *Sparse) Pages() []int64 { return slices.Sorted(maps.Keys(s.pages)) }

// ReadAt implements io.ReaderAt.
func (s *Sparse) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		at := off + int64(n)
		if at >= s.size {
			return n, io.EOF
		}
		k := int(min(page-at%page, int64(len(p)-n), s.size-at))
		if data, ok := s.pages[at/page]; ok {
			copy(p[n:n+k], data[at%page:])
		} else {
			clear(p[n : n+k])
		}
		n += k
	}
	return n, nil
}

// Change returns a copy with other bytes.
func (s *Sparse) Change(change func(set func(page int64, at int, b byte))) *Sparse {
	c := &Sparse{s.size, maps.Clone(s.pages)}
	mine := map[int64]bool{}
	change(func(n int64, at int, b byte) {
		if !mine[n] {
			c.pages[n], mine[n] = slices.Clone(c.pages[n]), true
		}
		if p := c.pages[n]; at < len(p) {
			p[at] = b
		}
	})
	return c
}

// Pack encodes a disk.
func (s *Sparse) Pack() []byte {
	b := le.AppendUint64(nil, uint64(s.size))
	for _, n := range s.Pages() {
		b = le.AppendUint64(b, uint64(n))
		b = append(b, s.pages[n]...)
		b = append(b, make([]byte, page-len(s.pages[n]))...)
	}
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
	if err != nil {
		panic(err)
	}
	return z.EncodeAll(b, nil)
}

// Unpack decodes a disk.
func Unpack(p []byte) (*Sparse, error) {
	z, err := zstd.NewReader(nil)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	b, err := z.DecodeAll(p, nil)
	if err != nil || len(b) < 8 || (len(b)-8)%(8+page) != 0 {
		return nil, fmt.Errorf("packed disk: %d bytes, %w", len(b), err)
	}
	s := &Sparse{int64(le.Uint64(b)), map[int64][]byte{}}
	for b = b[8:]; len(b) > 0; b = b[8+page:] {
		n := int64(le.Uint64(b))
		s.pages[n] = b[8 : 8+min(page, s.size-n*page)]
	}
	return s, nil
}
