package anyimage

import (
	"bufio"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/therootcompany/xz"

	"github.com/fastimage/fastimage/internal/imageerr"
	"github.com/fastimage/fastimage/rawimage"
)

const (
	// xzWindow is what xz -9 needs, and defaultWindow what zstd decompresses
	// without being asked to (--long=27). maxWindow is the most that zstd makes.
	xzWindow      = 64 << 20
	defaultWindow = 128 << 20
	maxWindow     = 2 << 30
)

// WindowError is the details of an error about a zstd file whose window is larger
// than [WithLongWindow] allows. The FormatError around it is ErrUnsupported.
type WindowError struct {
	Need  int64 // bytes; 0 if it is not known
	Limit int64 // bytes
}

// Error implements error.
func (e *WindowError) Error() string {
	if e.Need == 0 {
		return fmt.Sprintf("needs a window of more than the %d bytes allowed", e.Limit)
	}
	return fmt.Sprintf("needs a window of %d bytes, more than the %d allowed", e.Need, e.Limit)
}

// decoders decompress the formats that OpenStream reads, but zip, which is not a
// stream.
var decoders = map[rawimage.Format]func(r *bufio.Reader, o *options) (io.ReadCloser, error){
	rawimage.FormatGzip: func(r *bufio.Reader, _ *options) (io.ReadCloser, error) { return newMembers(r) },
	rawimage.FormatXZ: func(r *bufio.Reader, o *options) (io.ReadCloser, error) {
		x, err := xz.NewReader(r, uint32(max(xzWindow, o.window)))
		return io.NopCloser(x), err
	},
	rawimage.FormatZstd: func(r *bufio.Reader, o *options) (io.ReadCloser, error) {
		z, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(uint64(o.window)), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	},
	rawimage.FormatBzip2: func(r *bufio.Reader, _ *options) (io.ReadCloser, error) {
		return &bzipped{r, bzip2.NewReader(r)}, nil
	},
	rawimage.FormatLZ4:       newFrames,
	rawimage.FormatLZ4Legacy: newFrames,
	rawimage.FormatZip: func(*bufio.Reader, *options) (io.ReadCloser, error) {
		return nil, pkg.New("a zip archive is not a stream")
	},
}

// kindOf is the kind of an error of a decompressor.
func kindOf(err error) error {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, xz.ErrBuf):
		return imageerr.ErrTruncated
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrUnknownDictionary),
		errors.Is(err, xz.ErrOptions), errors.Is(err, xz.ErrUnsupportedCheck), errors.Is(err, xz.ErrMemlimit):
		return imageerr.ErrUnsupported
	case errors.Is(err, errZipEncrypted):
		return imageerr.ErrEncrypted
	}
	if _, ok := errors.AsType[*WindowError](err); ok || errors.Is(err, errZipMethod) {
		return imageerr.ErrUnsupported
	}
	return imageerr.ErrDamaged
}

var errTrailing = errors.New("something that is not gzip follows the end")

// members reads the members of a gzip file one after the other. The reader below
// could do so itself; but it takes the zeros that tapes and some tools leave at
// the end, which gzip ignores, for a damaged member.
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

// bzipped is a bzip2 file. The reader below takes zeros for what a truncated file
// lacks, and then finds damage.
type bzipped struct {
	r   *bufio.Reader
	dec io.Reader
}

func (b *bzipped) Read(p []byte) (int, error) {
	n, err := b.dec.Read(p)
	if err != nil && err != io.EOF {
		if _, end := b.r.Peek(1); end == io.EOF {
			err = io.ErrUnexpectedEOF
		}
	}
	return n, err
}

func (*bzipped) Close() error { return nil }

// frames reads the frames of an lz4 file one after the other, which the reader
// below does not.
type frames struct {
	r   *bufio.Reader
	dec *lz4.Reader
}

func newFrames(r *bufio.Reader, _ *options) (io.ReadCloser, error) {
	return io.NopCloser(&frames{r: r, dec: lz4.NewReader(r)}), nil
}

func (f *frames) Read(p []byte) (int, error) {
	for {
		n, err := f.dec.Read(p)
		if n > 0 && err == io.EOF {
			return n, nil
		}
		if n > 0 || err != io.EOF {
			return n, err
		}
		if _, err := f.r.Peek(1); err != nil {
			return 0, err
		}
		if head, err := f.r.Peek(4); err != nil {
			return 0, io.ErrUnexpectedEOF
		} else if !isFrame(head) {
			return 0, errNotFrame
		}
		f.dec.Reset(f.r)
	}
}

var errNotFrame = errors.New("something that is not lz4 follows the end")

// isFrame reports whether a frame of lz4 begins with head, or one without data.
func isFrame(head []byte) bool {
	switch string(head) {
	case "\x04\x22\x4d\x18", "\x02\x21\x4c\x18":
		return true
	}
	return head[0]&0xf0 == 0x50 && string(head[1:4]) == "\x2a\x4d\x18"
}
