package zvhd2

import (
	"io"
)

// file is access to a container's bytes.
type file struct {
	ra   io.ReaderAt
	size int64
}

func newFile(ra io.ReaderAt, size int64) (file, error) {
	if ra == nil {
		return file{}, invalid("no file")
	}
	if size < 0 {
		return file{}, invalid("file of %d bytes", size)
	}
	return file{ra, size}, nil
}

// readFull reads what must be there. An I/O error remains one.
func (f file) readFull(p []byte, off int64, what string) error {
	n, err := f.ra.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == io.EOF || err == nil {
		return format.Truncated(off+int64(n), what, "%d of %d bytes", n, len(p))
	}
	return pkg.Errorf("read %s at offset %d: %w", what, off, err)
}

// page returns the page at off.
func (f file) page(off int64, what string) ([]byte, error) {
	b := make([]byte, pageSize)
	return b, f.readFull(b, off, what)
}

// header returns the structure at the start.
func (f file) header() (*footer, error) {
	if f.size < pageSize {
		return nil, format.Truncated(f.size, "file", "%d bytes: too short for a header", f.size)
	}
	b, err := f.page(0, "header")
	if err != nil {
		return nil, err
	}
	return parseFooter(b, 0, false)
}

// footerOffset returns where the index footer is, or an error if the file is
// too short to have one.
func (f file) footerOffset() (int64, error) {
	switch {
	case f.size == pageSize:
		return 0, format.Truncated(pageSize, "file", "%s", neverWritten)
	case f.size < minFile:
		return 0, format.Truncated(f.size, "file", "%d bytes: a container has %d or more", f.size, minFile)
	case f.size%pageSize != 0:
		return 0, format.Truncated(f.size, "file", "%d bytes: not a multiple of %d", f.size, pageSize)
	}
	return f.size - pageSize, nil
}

// neverWritten describes a file of one page. The vendor's tool leaves such a
// file behind when it is stopped before the first block.
const neverWritten = "it has a header and nothing else: it was created and never written"

// indexFooter returns the structure at the end. It must match head if that is
// not nil, and its layout must match the file.
func (f file) indexFooter(head *footer) (*footer, error) {
	off, err := f.footerOffset()
	if err != nil {
		return nil, err
	}
	b, err := f.page(off, "footer")
	if err != nil {
		return nil, err
	}
	foot, err := parseFooter(b, off, false)
	if fe := asFormatError(err); fe != nil && fe.Field == "cookie" {
		return nil, format.Truncated(off, "cookie", "no index footer at the end of the file")
	}
	if err != nil {
		return nil, err
	}
	if foot.zvhd {
		return nil, format.Damaged(off, "cookie", "is that of ZVHD, which has no index footer")
	}
	if err := compareFooters(head, foot, off); err != nil {
		return nil, err
	}
	return foot, foot.checkLayout(f.size)
}
