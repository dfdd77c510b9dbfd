package vmdk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/klauspost/compress/zlib"
)

// maxRatio is the most deflate can expand: 258 bytes for two bits.
const maxRatio = 1032

var (
	inflaters sync.Pool                                           // of io.ReadCloser that are zlib.Resetter
	scratch   = sync.Pool{New: func() any { return new([]byte) }} // compressed grains
)

// readCompressed fills p from in on of the compressed grain g in sector e.
func (s *sparseExtent) readCompressed(p []byte, g, in int64, e uint32) error {
	need := min(s.grain, s.size-g*s.grain)
	if int64(len(p)) == s.grain {
		// The whole grain is wanted: no copy, no place in the cache.
		_, err := s.inflate(p, g, e, need)
		return err
	}
	data, err := s.grains.Get(key{s, g}, s.grain, func() ([]byte, error) { return s.inflate(nil, g, e, need) })
	if err != nil {
		return err
	}
	copy(p, data[in:])
	return nil
}

// inflate reads the grain g in sector e, of which at least need bytes must come
// out and at most a grain. dst is where to, or nil.
//
//	place on the disk, 8 bytes, with flagMarkers only | length, 4 bytes | deflated data
func (s *sparseExtent) inflate(dst []byte, g int64, e uint32, need int64) ([]byte, error) {
	at := int64(e) * sectorSize
	var hdr [12]byte
	b := hdr[:4]
	if s.h.flags&flagMarkers != 0 {
		b = hdr[:12]
	}
	if int64(len(b)) > s.fileSize-at {
		return nil, format.Truncated(at, "grain marker", "cut off by the end of the file")
	}
	if err := readFull(s.ra, b, at, "grain marker"); err != nil {
		return nil, err
	}
	if len(b) == 12 {
		if lba := binary.LittleEndian.Uint64(b); lba != uint64(g)*s.h.grain {
			return nil, format.Damaged(at, "grain marker", "is of sector %d, not of %d", lba, uint64(g)*s.h.grain)
		}
	}
	n := int64(binary.LittleEndian.Uint32(b[len(b)-4:]))
	at += int64(len(b))
	if n == 0 || n > 2*s.grain || n > s.fileSize-at {
		return nil, format.Damaged(at-4, "compressed length", "%d bytes for a grain of %d", n, s.grain)
	}
	buf := scratch.Get().(*[]byte)
	defer scratch.Put(buf)
	*buf = slices.Grow((*buf)[:0], int(n))[:n]
	if err := readFull(s.ra, *buf, at, "compressed grain"); err != nil {
		return nil, err
	}
	if dst == nil {
		dst = make([]byte, min(s.grain, n*maxRatio))
	}
	got, err := inflate(dst, *buf, s.grain)
	if err != nil {
		return nil, format.Damaged(at, "compressed grain", "%w", err)
	}
	if int64(got) < need {
		return nil, format.Damaged(at, "compressed grain", "expands to %d bytes of %d", got, need)
	}
	return dst[:got], nil
}

var errTooLong = errors.New("expands to more than a grain")

// inflate expands src into dst and returns how many bytes that were. The end of
// the stream, and so its checksum, is always reached.
func inflate(dst, src []byte, grain int64) (int, error) {
	in := bytes.NewReader(src)
	z, ok := inflaters.Get().(io.ReadCloser)
	var err error
	if ok {
		err = z.(zlib.Resetter).Reset(in, nil)
	} else {
		z, err = zlib.NewReader(in)
	}
	if err != nil {
		return 0, err
	}
	defer inflaters.Put(z)
	n, err := io.ReadFull(z, dst)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) && drained(z) {
		return n, nil
	}
	if err != nil {
		return n, fmt.Errorf("after %d bytes: %w", n, err)
	}
	var more [1]byte
	switch m, err := z.Read(more[:]); {
	case m > 0:
		return n, errTooLong
	case errors.Is(err, io.EOF):
		return n, nil
	case err != nil:
		return n, err
	}
	return n, fmt.Errorf("no end after %d bytes of %d", n, grain)
}

// drained tells the proper end of a short stream, after which reads go on to
// give io.EOF, from one cut off, for which both are io.ErrUnexpectedEOF.
func drained(z io.Reader) bool {
	_, err := z.Read(make([]byte, 1))
	return errors.Is(err, io.EOF)
}
