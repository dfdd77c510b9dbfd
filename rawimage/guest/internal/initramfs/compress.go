package initramfs

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/therootcompany/xz"
	"github.com/ulikunitz/xz/lzma"

	"github.com/fastimage/fastimage/rawimage/guest/internal/vfs"
)

// maxWindow bounds what a decompressor allocates; mkinitramfs and dracut stay at
// 8 MiB for zstd, xz and lzma at 64 MiB.
const maxWindow = 64 << 20

type opener func(r *bufio.Reader) (io.ReadCloser, error)

// decompressor tells a compression by its first six bytes.
func decompressor(head []byte) (string, opener) {
	for _, f := range []struct {
		name, magic string
		open        opener
	}{
		{"gzip", "\x1f\x8b", openGzip}, {"xz", "\xfd7zXZ\x00", openXZ}, {"zstd", "\x28\xb5\x2f\xfd", openZstd},
		{"lz4", "\x02\x21\x4c\x18", openLZ4}, {"lz4", "\x04\x22\x4d\x18", openLZ4}, {"bzip2", "BZh", openBzip2},
		{"lzma", "\x5d\x00\x00", openLZMA}, {"lzo", "\x89LZO\x00\x0d", openLZO},
	} {
		if bytes.HasPrefix(head, []byte(f.magic)) {
			return f.name, f.open
		}
	}
	return "", nil
}

func openGzip(r *bufio.Reader) (io.ReadCloser, error) {
	z, err := gzip.NewReader(r)
	if err == nil {
		z.Multistream(false) // what follows may be something else
	}
	return z, err
}

func openXZ(r *bufio.Reader) (io.ReadCloser, error) {
	z, err := xz.NewReader(r, maxWindow)
	if err != nil {
		return nil, err
	}
	z.Multistream(false)
	return io.NopCloser(z), nil
}

func openZstd(r *bufio.Reader) (io.ReadCloser, error) {
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, err
	}
	return z.IOReadCloser(), nil
}

func openLZ4(r *bufio.Reader) (io.ReadCloser, error) { return io.NopCloser(lz4.NewReader(r)), nil }

func openBzip2(r *bufio.Reader) (io.ReadCloser, error) { return io.NopCloser(bzip2.NewReader(r)), nil }

func openLZMA(r *bufio.Reader) (io.ReadCloser, error) {
	head, err := r.Peek(13)
	if err != nil {
		return nil, err
	}
	if dict := uint32(head[1]) | uint32(head[2])<<8 | uint32(head[3])<<16 | uint32(head[4])<<24; dict > maxWindow {
		return nil, vfs.Unsupported("dictionary of %d bytes", dict)
	}
	z, err := lzma.NewReader(r)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(z), nil
}

func openLZO(*bufio.Reader) (io.ReadCloser, error) { return nil, vfs.Unsupported("compression lzo") }
