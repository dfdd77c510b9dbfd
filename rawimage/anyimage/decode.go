package anyimage

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/therootcompany/xz"

	"github.com/fastimage/fastimage/rawimage"
)

const (
	// xzWindow is what xz -9 needs, and zstdWindow what zstd decompresses
	// without being asked to (--long=27).
	xzWindow   = 64 << 20
	zstdWindow = 128 << 20
)

func newDecoder(f rawimage.Format, in io.Reader) (io.ReadCloser, error) {
	switch r := bufio.NewReaderSize(in, inputSize); f {
	case rawimage.FormatGzip:
		return newMembers(r)
	case rawimage.FormatXZ:
		x, err := xz.NewReader(r, xzWindow)
		return io.NopCloser(x), err
	case rawimage.FormatZstd:
		z, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(zstdWindow), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	}
	return nil, fmt.Errorf("anyimage: no decompressor for %s", f)
}

var errTrailing = errors.New("something that is not gzip follows the end")

// members reads the members of a gzip file one after the other. The reader below
// could do so itself; but it takes the zeros that tapes and some tools leave at
// the end, which gzip passes over, for a damaged member.
type members struct {
	r   *bufio.Reader
	dec *gzip.Reader
}

func newMembers(r *bufio.Reader) (*members, error) {
	dec, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	dec.Multistream(false)
	return &members{r, dec}, nil
}

func (m *members) Read(p []byte) (int, error) {
	for {
		n, err := m.dec.Read(p)
		if n > 0 && err == io.EOF {
			return n, nil // it comes again
		}
		if n > 0 || err != io.EOF {
			return n, err
		}
		if err := m.next(); err != nil {
			return 0, err
		}
	}
}

// next begins the next member, or returns io.EOF.
func (m *members) next() error {
	zeros := false
	for {
		b, err := m.r.ReadByte()
		if err != nil {
			return err
		}
		if b == 0 {
			zeros = true
			continue
		}
		if zeros || b != 0x1f {
			return errTrailing
		}
		if err := m.r.UnreadByte(); err != nil {
			return err
		}
		err = m.dec.Reset(m.r)
		if err == io.EOF {
			err = io.ErrUnexpectedEOF // there was a byte
		}
		m.dec.Multistream(false)
		return err
	}
}

func (m *members) Close() error { return m.dec.Close() }
