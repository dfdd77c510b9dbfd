package quickimport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/fastimage/fastimage/rawimage"
	"github.com/fastimage/fastimage/rawimage/anyimage"
	"github.com/fastimage/fastimage/rawimage/disk"
	"github.com/fastimage/fastimage/uploader"
	"github.com/fastimage/fastimage/zvhd2"
)

// source is what an import reads.
type source struct {
	name     string // as the caller gave it
	id       sourceID
	format   rawimage.Format // as the content says
	size     int64           // of the disk, in bytes
	fileSize int64
	warnings []string

	image     *rawimage.Image  // the bytes of the disk; nil for a stream
	stream    *anyimage.Stream // the disk in a compressed file
	container *zvhd2.Reader    // set for ZVHD2
	file      io.ReaderAt      // the file of a ZVHD2, which goes up as it is

	unchanged func() error // nil: cannot be told
	closers   []io.Closer
}

// inspect reads the partition table and what hints at the system.
func (s *source) inspect(ctx context.Context) (*disk.Info, error) {
	if s.stream != nil {
		return s.stream.Inspect(ctx)
	}
	return disk.Inspect(ctx, s.image, s.size)
}

func (s *source) close() {
	for _, c := range s.closers {
		_ = c.Close() // read only: nothing to lose
	}
}

// openSource opens a disk image by its content.
func (c *Client) openSource(ctx context.Context, name string) (*source, error) {
	path, err := filepath.Abs(name)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	s := &source{name: name, id: sourceID{Path: path, Modified: info.ModTime().UTC()}}
	d, err := anyimage.Open(name, c.o.source...)
	switch foreign, ok := errors.AsType[*anyimage.UnsupportedError](err); {
	case err == nil:
		s.format, s.size, s.fileSize = d.Format(), d.Size(), d.FileSize()
		s.warnings, s.unchanged, s.closers = d.Warnings(), d.CheckUnchanged, []io.Closer{d}
		s.image, err = rawimage.New(d, d.Size(), rawimage.WithAnyFormat())
	case errors.Is(err, anyimage.ErrCompressed):
		err = s.openStream(ctx, name, c.o.source)
	case ok && foreign.Format == rawimage.FormatZVHD2:
		err = s.openContainerFile(name)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	s.id.Size = s.size
	return s, nil
}

// openStream opens the RAW disk in a compressed file.
func (s *source) openStream(ctx context.Context, name string, opts []anyimage.Option) (err error) {
	if s.stream, err = anyimage.OpenStream(ctx, name, opts...); err != nil {
		return err
	}
	s.format, s.size, s.fileSize = s.stream.Format(), s.stream.Size(), s.stream.FileSize()
	s.unchanged, s.closers = s.stream.CheckUnchanged, []io.Closer{s.stream}
	return nil
}

// openContainerFile opens a ZVHD2 file.
func (s *source) openContainerFile(name string) error {
	file, err := rawimage.Open(name, rawimage.WithAnyFormat())
	if err != nil {
		return err
	}
	s.closers, s.unchanged, s.fileSize = []io.Closer{file}, file.CheckUnchanged, file.Size()
	return s.openContainer(file)
}

// openObject opens an object in a bucket, ZVHD2 or RAW.
func openObject(ctx context.Context, obs *uploader.Client, bucket, key string) (_ *source, err error) {
	object, err := obs.OpenObject(ctx, bucket, key, uploader.WithReadAhead(0), uploader.WithBlockSize(64<<10))
	if err != nil {
		return nil, err
	}
	info := object.Info()
	s := &source{
		name: bucket + ":" + key, fileSize: info.Size, closers: []io.Closer{object},
		id: sourceID{Path: "obs://" + bucket + "/" + key, Size: info.Size, Modified: info.Modified.UTC().Truncate(time.Second), ETag: info.ETag},
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	s.image, err = rawimage.New(object, object.Size())
	if err == nil {
		s.format, s.size = rawimage.FormatRaw, object.Size()
		return s, nil
	}
	if foreign, ok := errors.AsType[*rawimage.ForeignFormatError](err); !ok || foreign.Format != rawimage.FormatZVHD2 {
		return nil, err
	}
	return s, s.openContainer(object)
}

// openContainer makes the source of a ZVHD2, whose length is s.fileSize.
func (s *source) openContainer(ra io.ReaderAt) (err error) {
	if s.container, err = zvhd2.NewReader(ra, s.fileSize); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	s.closers = append([]io.Closer{s.container}, s.closers...)
	s.format, s.size, s.file = rawimage.FormatZVHD2, s.container.Size(), ra
	s.image, err = rawimage.New(s.container, s.size, rawimage.WithAnyFormat())
	return err
}
