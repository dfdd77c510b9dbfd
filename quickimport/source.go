package quickimport

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/fastimage/fastimage/rawimage"
	"github.com/fastimage/fastimage/uploader"
)

// A Source is a disk image to import, or to open with [Open]. [File], [Disk] and
// [Stream] make sources. A source is a value: it holds no open file, and one
// value serves any number of calls unless its constructor says otherwise.
type Source interface {
	// Name names the source in messages and results. It contains no secret.
	Name() string
	// Open opens the bytes of the source. The client is the one that imports;
	// it is nil for [Open]. What is opened is closed by Input.Close.
	Open(ctx context.Context, c *Client) (*Input, error)
}

// Input is an open source: bytes that can be read anywhere (ReaderAt) or only
// in order (Reader). Exactly one of the two is set.
type Input struct {
	// ReaderAt is safe for concurrent use. If it has a method
	// NextData(off int64) (start, end int64, err error), holes are not read.
	ReaderAt io.ReaderAt
	// Reader yields the disk, or a ZVHD2 file, from its first byte to its end.
	Reader io.Reader
	// Size is the number of bytes of ReaderAt. Of Reader it is the size of the
	// disk, which RAW requires; 0 if unknown.
	Size int64
	// UpperBound says that the disk in Reader may be shorter than Size. Zeros
	// then fill it up.
	UpperBound bool
	// Remote says that each read of ReaderAt costs the latency of a network: the
	// disk is then read ahead, up to 32 MiB.
	Remote bool
	// Dir is where the other files of a VMDK may be, "" for nowhere.
	Dir string
	// Identity changes whenever the content does: a version, a checksum, a time
	// of modification. It contains no secret. "" means that nothing is known.
	Identity string
	// CheckUnchanged returns an error if the source changed since it was
	// opened. nil means that this cannot be found out.
	CheckUnchanged func() error
	// Close releases the source; nil if there is nothing to release.
	Close func() error
}

func (in *Input) close() error {
	if in.Close == nil {
		return nil
	}
	return in.Close()
}

// File is the disk image in a regular file or block device. Its identity is its
// absolute path, size, time of modification and inode.
func File(name string) Source { return fileSource(name) }

type fileSource string

func (f fileSource) Name() string { return string(f) }

func (f fileSource) Open(context.Context, *Client) (*Input, error) {
	name := string(f)
	path, err := filepath.Abs(name)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(name) // before Open: a file replaced in between has another identity than the record
	if err != nil {
		return nil, &rawimage.OpenError{Name: name, Err: pathCause(err)}
	}
	file, err := rawimage.Open(name, rawimage.WithAnyFormat())
	if err != nil {
		return nil, err
	}
	return &Input{
		ReaderAt: file, Size: file.Size(), Dir: filepath.Dir(name), Identity: path + " " + uploader.FileFingerprint(info),
		CheckUnchanged: file.CheckUnchanged, Close: func() error { return ignoreClosed(file.Close()) },
	}, nil
}

// ignoreClosed is for files that two owners close.
func ignoreClosed(err error) error {
	if errors.Is(err, fs.ErrClosed) {
		return nil
	}
	return err
}

// pathCause is err without the path, which the caller adds.
func pathCause(err error) error {
	if pe, ok := err.(*fs.PathError); ok {
		return pe.Err
	}
	return err
}

// SourceInfo describes a source of the caller's own.
type SourceInfo struct {
	// Name names the source in messages and results. Default "disk" or "stream".
	Name string
	// Identity changes whenever the content does: the id of a snapshot, a
	// version, a checksum. A durable import ([WithStateDir]) of a source with an
	// identity resumes what an earlier run left. Without one nothing can be
	// resumed: a failed import removes what it uploaded, and the next run
	// starts over and does not know what the earlier one asked the service for.
	Identity string
	// CheckUnchanged returns an error if the content changed while it was read.
	// It is called before the image is created. Default: no check.
	CheckUnchanged func() error
	// UpperBound says that a stream may end before its size: the rest of the
	// disk is zeros.
	UpperBound bool
}

// Disk is the disk image of size bytes in ra: RAW, QCOW2 or any other format,
// detected by its content; no temporary file is made. ra must be safe for
// concurrent use. If it has a method
//
//	NextData(off int64) (start, end int64, err error)
//
// that returns the first range of data that ends after off (io.EOF if there is
// none), holes are not read. ra is not closed.
func Disk(ra io.ReaderAt, size int64, info SourceInfo) Source {
	return &diskSource{ra, size, info}
}

type diskSource struct {
	ra   io.ReaderAt
	size int64
	info SourceInfo
}

func (d *diskSource) Name() string { return cmp.Or(d.info.Name, "disk") }

func (d *diskSource) Open(context.Context, *Client) (*Input, error) {
	if d.ra == nil || d.size < 0 || d.info.UpperBound {
		return nil, pkg.Errorf("Disk: %w: want a reader and its exact size", fs.ErrInvalid)
	}
	return &Input{ReaderAt: d.ra, Size: d.size, Identity: d.info.Identity, CheckUnchanged: d.info.CheckUnchanged}, nil
}

// Stream is the RAW disk of size bytes, or the ZVHD2 file, that r yields. Of a
// ZVHD2 file size may be 0, since its header has it. r is read once: the Source
// can be planned any number of times and imported once. An import that was
// interrupted resumes if r yields the same bytes from the start again and has an
// identity; what the bucket has is not sent again.
func Stream(r io.Reader, size int64, info SourceInfo) Source {
	return &streamSource{r: r, size: size, info: info}
}

type streamSource struct {
	r    io.Reader
	size int64
	info SourceInfo

	mu   sync.Mutex // guards head
	head *headReader
}

func (s *streamSource) Name() string { return cmp.Or(s.info.Name, "stream") }

func (s *streamSource) Open(context.Context, *Client) (*Input, error) {
	if s.r == nil || s.size < 0 {
		return nil, pkg.Errorf("Stream: %w: want a reader and a size of at least 0", fs.ErrInvalid)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.head == nil {
		s.head = &headReader{r: s.r}
	}
	if s.head.used() {
		return nil, pkg.Errorf("%s: %w", s.Name(), ErrStreamUsed)
	}
	return &Input{Reader: s.head, Size: s.size, UpperBound: s.info.UpperBound, Identity: s.info.Identity, CheckUnchanged: s.info.CheckUnchanged}, nil
}
