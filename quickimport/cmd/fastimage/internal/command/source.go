package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fastimage/fastimage/quickimport"
	"github.com/fastimage/fastimage/rawimage"
	"github.com/fastimage/fastimage/rawimage/anyimage"
	"github.com/fastimage/fastimage/rawimage/vhd"
)

// source is an input: a disk image, a RAW disk that is compressed, a container
// with an index, or one that can only be read in order.
type source struct{ *quickimport.Content }

// sourceFlags say how an input file is to be read.
type sourceFlags struct {
	format     rawimage.Format
	references string
	member     string
	size       int64
	tempDir    string
	checksum   string
	window     int64
	vhdSize    vhd.SizeSource
	region     string // of a bucket that an obs:// source is in
	endpoint   string // of that
}

func (f *sourceFlags) add(cmd *cobra.Command) {
	var formats []string
	for _, f := range anyimage.Formats() {
		formats = append(formats, string(f))
	}
	topic(cmd, topicSource, func(fl *pflag.FlagSet) {
		choiceFlag(fl, &f.format, "source-format", "", formats, "read the image as "+alternatives(formats)+" instead of detecting the format")
		fl.StringVar(&f.references, "references", "", "directory that may hold the backing and data files of a QCOW2; their names are relative to it")
		fl.StringVar(&f.member, "member", "", "which disk of an OVA, if it has several")
		fl.StringVar(&f.region, "source-region", "", "region of an obs:// source, if it is another one than the target's")
		fl.StringVar(&f.endpoint, "source-endpoint", "", "URL of the object storage, OBS or S3, that an obs:// source is in")
		fl.Var(sizeFlag{n: &f.size}, "size", "uncompressed size, such as 40GiB; skips the pass that measures a compressed file")
		fl.StringVar(&f.checksum, "checksum", "", "checksum of the source as sha256:HEX (sha512, sha1, md5), or the URL of a SHA256SUMS file; a mismatch is an error")
		fl.StringVar(&f.tempDir, "temp-dir", "", "directory for the temporary file that an image inside of a compressed file may need")
		fl.Var(sizeFlag{n: &f.window, least: 1 << 10, most: 2 << 30}, "long-window", "allow zstd windows up to this size, 1KiB to 2GiB, which takes as much memory (default 128MiB)")
		choiceFlag(fl, &f.vhdSize, "vhd-size", "", []string{string(vhd.SizeGeometry), string(vhd.SizeCurrent)}, "which of its two sizes the disk of a VHD has: geometry or current (default: by its creator)")
	})
}

func (f *sourceFlags) options() ([]anyimage.Option, error) {
	var opts []anyimage.Option
	if f.format != "" {
		opts = append(opts, anyimage.WithFormat(f.format))
	}
	if f.references != "" {
		opts = append(opts, anyimage.WithReferences(f.references))
	}
	if f.member != "" {
		opts = append(opts, anyimage.WithMember(f.member))
	}
	if f.size > 0 {
		opts = append(opts, anyimage.WithSize(f.size))
	}
	if f.tempDir != "" {
		opts = append(opts, anyimage.WithTempDir(f.tempDir))
	}
	if f.window > 0 {
		opts = append(opts, anyimage.WithLongWindow(f.window))
	}
	if f.vhdSize != "" {
		opts = append(opts, anyimage.WithVHDSize(f.vhdSize))
	}
	return opts, nil
}

// announceTemp says that an image inside of a compressed file needs a temporary
// file, before it is made.
func (a *app) announceTemp(f anyimage.TempFile) error {
	what := string(f.Format)
	if what == "" {
		what = "image"
	}
	if !a.quiet {
		fmt.Fprintf(a.stderr, "note: the %s in the %s file is decompressed into a temporary file of up to %s in %s\n", what, f.Inside, size(f.Bytes), oneLine(f.Dir))
	}
	return nil
}

// sourceOf returns the source that a name on the command line means: a URL
// (http, https, nbd, nbd+unix, obs), "-" for standard input, or a file.
func (a *app) sourceOf(ctx context.Context, name string, flags *sourceFlags, bucket *bucketFlags) (quickimport.Source, error) {
	src, err := a.plainSource(ctx, name, flags, bucket)
	if err != nil || flags.checksum == "" {
		return src, err
	}
	var sum quickimport.Checksum
	if strings.Contains(flags.checksum, "://") {
		base, _, _ := strings.Cut(path.Base(name), "?")
		sum, err = quickimport.FetchChecksum(ctx, flags.checksum, base, bucket.httpOptions()...)
	} else if sum, err = quickimport.ParseChecksum(flags.checksum); err != nil {
		err = usagef("--checksum %w", err)
	}
	if err != nil {
		return nil, err
	}
	var show display // of the pass that a source which is read in no order needs
	return quickimport.Verified(src, sum, func(done, total int64) {
		if show == nil {
			show = a.progress()
		}
		show.show(step{phase: "checksum", done: done, total: total})
		if done == total {
			show.finish()
		}
	}), nil
}

func (a *app) plainSource(ctx context.Context, name string, flags *sourceFlags, bucket *bucketFlags) (quickimport.Source, error) {
	scheme, _, isURL := strings.Cut(name, "://")
	switch {
	case name == "-":
		return quickimport.Stream(interruptible(ctx, a.stdin), flags.size, quickimport.SourceInfo{Name: "standard input"}), nil
	case !isURL:
		return quickimport.File(name), nil
	}
	switch scheme {
	case "http", "https":
		return quickimport.HTTP(name, bucket.httpOptions()...), nil
	case "nbd", "nbd+unix", "nbds":
		return quickimport.NBD(name, ""), nil
	case "obs":
		b, key, err := parseObject(name, true)
		if err != nil {
			return nil, err
		}
		client, err := bucket.ofSource(flags).client()
		if err != nil {
			return nil, err
		}
		return quickimport.Object(client, b, key), nil
	}
	return nil, usagef("%q: want a file, or a URL with http, https, nbd, nbd+unix or obs%s", name, didYouMean(scheme, []string{"http", "https", "nbd", "nbd+unix", "obs"}))
}

// openAny opens name by its content or as the flags say. A disk that is shorter
// than its own partition table says is refused: the cloud would make an image of
// it that does not boot.
func (a *app) openAny(ctx context.Context, name string, flags *sourceFlags, bucket *bucketFlags) (*source, error) {
	opts, err := flags.options()
	if err != nil {
		return nil, err
	}
	src, err := a.sourceOf(ctx, name, flags, bucket)
	if err != nil {
		return nil, err
	}
	// A compressed image may have to be read to its end to find its size.
	show := a.progress()
	defer show.finish()
	s, err := openSource(ctx, src, append(opts, anyimage.WithTempFile(a.announceTemp), anyimage.WithProgress(func(p anyimage.Progress) {
		show.show(step{phase: "count", done: p.Done, total: p.Total})
	}))...)
	if errors.Is(err, quickimport.ErrSizeRequired) {
		return nil, usagef("standard input is not seekable: give the size of the disk with --size, or a file name")
	}
	return s, err
}

func openSource(ctx context.Context, src quickimport.Source, opts ...anyimage.Option) (*source, error) {
	c, err := quickimport.Open(ctx, src, opts...)
	if err != nil {
		return nil, err
	}
	if c.Container == nil {
		_, err = c.Inspect(ctx)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return &source{c}, nil
}

// packed returns a compressed disk, which can be read again from its start. A
// stream cannot.
func (s *source) packed() (*anyimage.Stream, error) {
	if p, ok := s.Forward.(*anyimage.Stream); ok {
		return p, nil
	}
	return nil, usagef("%s is not seekable; give a file name", s.Name())
}

// isContainer reports whether the source is ZVHD2 or ZVHD already.
func (s *source) isContainer() bool { return s.Container != nil || s.Sequence != nil }

// unchanged returns the outcome err of reading the source, or that it changed
// meanwhile: that is the reason for whatever else was found.
func (s *source) unchanged(err error) error {
	cerr := s.CheckUnchanged()
	if err == nil || errors.Is(cerr, rawimage.ErrChanged) {
		return cerr
	}
	return err
}

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
