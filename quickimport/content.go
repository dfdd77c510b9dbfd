package quickimport

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/fastimage/fastimage/rawimage"
	"github.com/fastimage/fastimage/rawimage/anyimage"
	"github.com/fastimage/fastimage/rawimage/disk"
	"github.com/fastimage/fastimage/zvhd2"
)

// Content is an open source: the disk in it, whatever its format. Exactly one of
// the four fields is set.
type Content struct {
	// Disk can be read anywhere.
	Disk *anyimage.Disk
	// Forward is a RAW disk that is compressed or comes from a stream.
	Forward Forward
	// Container is a ZVHD2 file.
	Container *zvhd2.Reader
	// Sequence is a ZVHD file, or a ZVHD2 file in a stream, that can only be
	// read in order.
	Sequence *zvhd2.StreamReader

	name   string
	in     *Input
	format rawimage.Format
	image  *rawimage.Image // the disk where it can be read anywhere, else nil
	whole  io.Reader       // the bytes of Sequence, its header included
	closer io.Closer       // on top of in, or nil
}

// Forward is a RAW disk that can only be read from its start to its end. It is an
// [*anyimage.Stream] unless the source is a [Stream].
type Forward interface {
	io.Reader
	Size() int64                                 // bytes of the disk
	Inspect(context.Context) (*disk.Info, error) // does not disturb Read
}

// Open opens a source by its content. The options are those of the disk image,
// such as [anyimage.WithReferences]. It is what an import does first; its errors
// are those of the packages of the formats.
func Open(ctx context.Context, s Source, opts ...anyimage.Option) (*Content, error) {
	return openContent(ctx, nil, s, opts)
}

func openContent(ctx context.Context, client *Client, s Source, opts []anyimage.Option) (*Content, error) {
	if s == nil {
		return nil, pkg.New("the source is nil")
	}
	in, err := s.Open(ctx, client)
	if err != nil {
		return nil, err
	}
	c := &Content{name: s.Name(), in: in}
	if in.ReaderAt != nil {
		err = c.openImage(ctx, opts)
	} else {
		err = c.openStream(ctx, opts)
	}
	if err != nil {
		return nil, errors.Join(err, in.close())
	}
	return c, nil
}

// openImage opens what can be read anywhere.
func (c *Content) openImage(ctx context.Context, opts []anyimage.Option) error {
	file, ok := c.in.ReaderAt.(*rawimage.Image)
	if !ok {
		var err error
		if file, err = rawimage.New(c.in.ReaderAt, c.in.Size, rawimage.WithAnyFormat(), rawimage.WithName(c.name)); err != nil {
			return err
		}
	}
	if c.in.Dir != "" {
		opts = append([]anyimage.Option{anyimage.WithSiblings(c.in.Dir)}, opts...)
	}
	format, err := anyimage.Detect(file, opts...)
	if err != nil {
		return err
	}
	c.format = format
	switch {
	case format == rawimage.FormatZVHD2:
		return c.openContainer(file)
	case format == rawimage.FormatZVHD:
		return c.openSequence(nil, io.NewSectionReader(file, 0, file.Size()))
	case anyimage.Compressed(format):
		if c.in.Remote {
			if file, err = c.readAhead(ctx, file); err != nil {
				return err
			}
		}
	}
	d, s, err := anyimage.OpenFileAny(ctx, file, opts...)
	if err != nil {
		return err
	}
	if s != nil {
		c.Forward, c.closer = s, s
		return nil
	}
	c.Disk, c.closer, c.format = d, d, d.Format()
	c.image, err = rawimage.New(d, d.Size(), rawimage.WithAnyFormat(), rawimage.WithName(c.name))
	return err
}

func (c *Content) openContainer(file *rawimage.Image) error {
	zr, err := zvhd2.NewReader(file, file.Size())
	if err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	c.Container, c.closer = zr, zr
	if c.image, err = rawimage.New(zr, zr.Size(), rawimage.WithAnyFormat(), rawimage.WithName(c.name)); err != nil {
		return errors.Join(err, zr.Close())
	}
	return nil
}

// openSequence opens a container that is read in order, of which head are the
// first bytes. Its header is read from there, so that r can still be read from its
// first byte: to send the container as it is, or by another call.
func (c *Content) openSequence(head []byte, r io.Reader) error {
	sr, err := zvhd2.NewStreamReader(bufio.NewReaderSize(&replay{head: head, r: r}, 64<<10))
	if err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	c.Sequence, c.format, c.whole = sr, rawimage.Format(sr.Format()), r
	return nil
}

// replay reads head, which are the first bytes of r, and touches r when more is
// wanted.
type replay struct {
	head []byte
	r    io.Reader
	pos  int
	past bool // the head was skipped in r
}

func (p *replay) Read(b []byte) (int, error) {
	if p.pos < len(p.head) {
		n := copy(b, p.head[p.pos:])
		p.pos += n
		return n, nil
	}
	if !p.past {
		p.past = true
		if _, err := io.CopyN(io.Discard, p.r, int64(len(p.head))); err != nil {
			return 0, err
		}
	}
	return p.r.Read(b)
}

// openStream opens what can only be read in order.
func (c *Content) openStream(ctx context.Context, opts []anyimage.Option) error {
	r, ok := c.in.Reader.(*headReader)
	if !ok {
		r = &headReader{r: c.in.Reader}
	}
	head, err := r.peek(ctx)
	if err != nil {
		return pkg.Errorf("%s: %w", c.name, err)
	}
	file, err := rawimage.New(bytes.NewReader(head), int64(len(head)), rawimage.WithAnyFormat(), rawimage.WithName(c.name))
	if err != nil {
		return err
	}
	if c.format, err = anyimage.Detect(file, opts...); err != nil {
		return err
	}
	switch {
	case c.format == rawimage.FormatZVHD2 || c.format == rawimage.FormatZVHD:
		return c.openSequence(head, r)
	case c.format != rawimage.FormatRaw:
		if anyimage.Compressed(c.format) || slices.Contains(anyimage.Formats(), c.format) {
			return pkg.Errorf("%s: %w: it is %s", c.name, ErrNotSeekable, c.format.Description())
		}
		return &anyimage.UnsupportedError{Name: c.name, Format: c.format}
	case c.in.Size == 0:
		return pkg.Errorf("%s: %w", c.name, ErrSizeRequired)
	}
	c.Forward = &rawStream{r: r, head: head, size: c.in.Size, pad: c.in.UpperBound}
	return nil
}

// Name returns the name of the source.
func (c *Content) Name() string { return c.name }

// Format returns the format of the source: raw, qcow2, gzip, zvhd2, ...
func (c *Content) Format() rawimage.Format { return c.format }

// Size returns the bytes of the disk.
func (c *Content) Size() int64 {
	switch {
	case c.image != nil:
		return c.image.Size()
	case c.Forward != nil:
		return c.Forward.Size()
	}
	return c.Sequence.Size()
}

// FileSize returns the bytes of the source, all its files together; 0 for a
// stream, of which they are not known.
func (c *Content) FileSize() int64 {
	switch {
	case c.Disk != nil:
		return c.Disk.FileSize()
	case c.in.ReaderAt != nil:
		return c.in.Size
	}
	return 0
}

// Warnings returns what users of the disk should know, each a sentence without a
// full stop.
func (c *Content) Warnings() []string {
	if c.Disk == nil {
		return nil
	}
	var list []string
	for _, w := range c.Disk.Warnings() {
		list = append(list, w.Message)
	}
	return list
}

// Inspect reads the partition table and what hints at the system. It returns nil
// for a Sequence.
func (c *Content) Inspect(ctx context.Context) (*disk.Info, error) {
	switch {
	case c.Disk != nil:
		return c.Disk.Inspect(ctx)
	case c.Container != nil:
		return disk.Inspect(ctx, c.image, c.image.Size())
	case c.Forward != nil:
		return c.Forward.Inspect(ctx)
	}
	return nil, nil
}

// CheckUnchanged returns an error if the source is known to have changed since
// it was opened.
func (c *Content) CheckUnchanged() error {
	if c.Disk != nil {
		if err := c.Disk.CheckUnchanged(); err != nil { // all files of the image
			return err
		}
	}
	if c.in.CheckUnchanged == nil {
		return nil
	}
	return c.in.CheckUnchanged()
}

// Close closes what Open opened.
func (c *Content) Close() error {
	var err error
	if c.closer != nil {
		err = c.closer.Close()
	}
	return errors.Join(err, c.in.close())
}

// rawStream is a RAW disk of size bytes that comes from a reader.
type rawStream struct {
	r    io.Reader
	head []byte
	size int64
	pad  bool // with zeros, if r ends before size
	pos  int64
}

func (s *rawStream) Size() int64 { return s.size }

func (s *rawStream) Inspect(ctx context.Context) (*disk.Info, error) {
	start := min(int64(len(s.head)), s.size)
	return anyimage.InspectStart(ctx, io.NewSectionReader(bytes.NewReader(s.head), 0, start), s.size)
}

// Read reads the disk. More bytes than the disk has are passed on, for whoever
// reads it to refuse.
func (s *rawStream) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.pos += int64(n)
	if err != io.EOF || !s.pad || s.pos >= s.size || n > 0 {
		if err == io.EOF && s.pad && s.pos < s.size {
			err = nil
		}
		return n, err
	}
	n = int(min(int64(len(p)), s.size-s.pos))
	clear(p[:n])
	s.pos += int64(n)
	return n, nil
}
