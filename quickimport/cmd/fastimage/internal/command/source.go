package command

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fastimage/fastimage/rawimage"
	"github.com/fastimage/fastimage/rawimage/anyimage"
	"github.com/fastimage/fastimage/zvhd2"
)

// source is an input file: a disk image, a RAW disk that is compressed, a
// container with an index, or one that can only be read in sequence. Exactly one
// of the first four is set.
type source struct {
	disk      *anyimage.Disk
	packed    *anyimage.Stream
	container *zvhd2.Reader
	stream    *zvhd2.StreamReader
	file      io.Closer // below stream
}

// sourceFlags say how an input file is to be read.
type sourceFlags struct {
	format     string
	references string
	member     string
	size       sizeFlag
}

func (f *sourceFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.format, "source-format", "", "take the image for raw, qcow2, vmdk, ova, vhd, vhdx or vdi instead of looking at its content")
	flags.StringVar(&f.references, "references", "", "directory in which a QCOW2 may have its backing and data files; their names are relative to it")
	flags.StringVar(&f.member, "member", "", "which disk of an OVA, if it has several")
	flags.Var(&f.size, "size", "size that the disk has, such as 40GiB: saves a gzip, xz or zstd file the reading that finds it")
}

func (f *sourceFlags) options() ([]anyimage.Option, error) {
	var opts []anyimage.Option
	if f.format != "" {
		format := rawimage.Format(strings.ToLower(f.format))
		if !slices.Contains(anyimage.Formats(), format) {
			return nil, usagef("--source-format %s: want one of %v", f.format, anyimage.Formats())
		}
		opts = append(opts, anyimage.WithFormat(format))
	}
	if f.references != "" {
		opts = append(opts, anyimage.WithReferences(f.references))
	}
	if f.member != "" {
		opts = append(opts, anyimage.WithMember(f.member))
	}
	if f.size > 0 {
		opts = append(opts, anyimage.WithSize(int64(f.size)))
	}
	return opts, nil
}

// openDisk opens a disk image of any format and refuses one that its own
// partition table says is cut short: what the cloud would make of it does not
// start.
func openDisk(ctx context.Context, name string, opts ...anyimage.Option) (*anyimage.Disk, error) {
	d, err := anyimage.Open(name, opts...)
	if err != nil {
		return nil, err
	}
	if _, err := d.Inspect(ctx); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// open opens name as what its content says it is, or the flags.
func (a *app) open(ctx context.Context, name string, flags *sourceFlags) (*source, error) {
	opts, err := flags.options()
	if err != nil {
		return nil, err
	}
	if name == "-" {
		return openStdin(ctx, a.stdin)
	}
	d, err := openDisk(ctx, name, opts...)
	if err == nil {
		return &source{disk: d}, nil
	}
	if errors.Is(err, anyimage.ErrCompressed) {
		return a.openPacked(ctx, name, opts)
	}
	s := &source{}
	foreign, ok := errors.AsType[*anyimage.UnsupportedError](err)
	switch {
	case ok && foreign.Format == rawimage.FormatZVHD2:
		s.container, err = zvhd2.Open(name)
	case ok && foreign.Format == rawimage.FormatZVHD:
		err = s.openStream(name)
	default:
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}

// openPacked opens a compressed RAW image, and shows the pass that finds its size.
func (a *app) openPacked(ctx context.Context, name string, opts []anyimage.Option) (*source, error) {
	show := a.progress()
	defer show.finish()
	opts = append(opts, anyimage.WithProgress(func(p anyimage.Progress) {
		show.show(step{phase: "count", done: p.Done, total: p.Total})
	}))
	s, err := anyimage.OpenStream(ctx, name, opts...)
	if err != nil {
		return nil, err
	}
	if _, err := s.Inspect(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return &source{packed: s}, nil
}

func (s *source) openStream(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	s.file = f
	if s.stream, err = zvhd2.NewStreamReader(bufio.NewReaderSize(f, 1<<20)); err != nil {
		f.Close()
	}
	return err
}

// openStdin opens a container on standard input: of all that is read, only it
// can be read in sequence and says how large its disk is.
func openStdin(ctx context.Context, stdin io.Reader) (*source, error) {
	in := bufio.NewReaderSize(interruptible(ctx, stdin), 1<<20)
	head, err := in.Peek(4096)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	if f := rawimage.DetectFormat(head, nil); f != rawimage.FormatZVHD2 && f != rawimage.FormatZVHD {
		return nil, usagef("only ZVHD2 and ZVHD can be read from standard input, an image is read here and there; name a file")
	}
	s := &source{file: io.NopCloser(stdin)}
	if s.stream, err = zvhd2.NewStreamReader(in); err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	return s, nil
}

// isContainer tells what is ZVHD2 or ZVHD already.
func (s *source) isContainer() bool { return s.container != nil || s.stream != nil }

// format is the usual short name of what the source is.
func (s *source) format() string {
	switch {
	case s.disk != nil:
		return string(s.disk.Format())
	case s.packed != nil:
		return string(s.packed.Format())
	case s.container != nil:
		return string(rawimage.FormatZVHD2)
	}
	return s.stream.Format()
}

// warnings are what users of the source should know.
func (s *source) warnings() []string {
	if s.disk == nil {
		return nil
	}
	return s.disk.Warnings()
}

// size is that of the disk.
func (s *source) size() int64 {
	switch {
	case s.disk != nil:
		return s.disk.Size()
	case s.packed != nil:
		return s.packed.Size()
	case s.container != nil:
		return s.container.Size()
	}
	return s.stream.Size()
}

// unchanged turns the outcome err of reading the source into that it changed
// meanwhile, if it did: that is the reason for whatever else was found.
func (s *source) unchanged(err error) error {
	var cerr error
	switch {
	case s.disk != nil:
		cerr = s.disk.CheckUnchanged()
	case s.packed != nil:
		cerr = s.packed.CheckUnchanged()
	}
	if err == nil || errors.Is(cerr, rawimage.ErrChanged) {
		return cerr
	}
	return err
}

// Close closes the files below.
func (s *source) Close() error {
	switch {
	case s.disk != nil:
		return s.disk.Close()
	case s.packed != nil:
		return s.packed.Close()
	case s.container != nil:
		return s.container.Close()
	}
	return s.file.Close()
}

var _ io.Closer = (*source)(nil)

// interruptible reads r until ctx is done: what waits for a pipe that nobody
// writes to would wait for ever otherwise. What has been read from r is lost then.
func interruptible(ctx context.Context, r io.Reader) io.Reader {
	pr, pw := io.Pipe()
	go func() {
		_, err := io.CopyBuffer(pw, struct{ io.Reader }{r}, make([]byte, 1<<20))
		pw.CloseWithError(err)
	}()
	context.AfterFunc(ctx, func() { pw.CloseWithError(context.Cause(ctx)) })
	return pr
}
