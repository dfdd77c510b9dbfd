package command

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fastimage/fastimage/rawimage"
	"github.com/fastimage/fastimage/rawimage/qcow2"
	"github.com/fastimage/fastimage/zvhd2"
)

// convertFlags are those of convert.
type convertFlags struct {
	source      sourceFlags
	bucket      bucketFlags
	to          rawimage.Format
	level       zvhd2.Level
	compression qcow2.Compression
	force       bool
	asJSON      bool
}

// converted is what convert --json prints. The names are stable.
type converted struct {
	Source       string   `json:"source"`
	SourceFormat string   `json:"source_format"`
	Output       string   `json:"output"`
	Format       string   `json:"format"` // zvhd2 or raw
	DiskSize     int64    `json:"disk_size"`
	DataBytes    *int64   `json:"data_bytes"` // null where a container was unpacked
	FileSize     int64    `json:"file_size"`
	UUID         *string  `json:"uuid"` // null for raw
	Seconds      float64  `json:"seconds"`
	Warnings     []string `json:"warnings"`

	detail string
}

func (a *app) convertCmd() *cobra.Command {
	var f convertFlags
	cmd := &cobra.Command{
		Use:   "convert [flags] IN OUT",
		Short: "convert any disk image to ZVHD2, RAW or QCOW2",
		Long: `Convert writes the disk in IN as ZVHD2, RAW or QCOW2: by the extension of OUT
(.zvhd2, .raw, .img, .qcow2), or by --to. IN is a file or a URL (http, https, nbd,
obs), and its content decides what it is: RAW, QCOW2, VMDK (with the files it names
beside it), OVA, VHD, VHDX, VDI, ZVHD2, ZVHD, or RAW compressed with gzip, xz, zstd
or bzip2. A RAW disk that looks like another format because its guest made it so
needs --source-format raw.

The output appears under its name only when it is complete: until then it has a
temporary name in the same directory, and is removed on failure. Zeros of a RAW
output are left as holes. QCOW2 is version 3, which qemu reads since 1.1. An output
of - is standard output; an IN of - is standard input, which may be ZVHD2, ZVHD, or
RAW of a given --size.

With --json it prints one object: source, source_format, output, format,
disk_size, data_bytes, file_size, uuid, seconds, warnings. data_bytes is null
where a container was unpacked, uuid for RAW.`,
		Example: `  fastimage convert testdata/disk.raw disk.zvhd2
  fastimage convert debian.qcow2 debian.zvhd2
  fastimage convert --size 10GiB disk.raw.xz disk.zvhd2
  fastimage convert disk.zvhd2 disk.raw
  fastimage convert --compression zstd disk.zvhd2 disk.qcow2
  fastimage convert appliance.ova - | ssh backup 'cat > disk.zvhd2'
  ssh backup 'cat disk.zvhd2' | fastimage convert - disk.raw`,
		Args: argCount(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.convert(cmd.Context(), args[0], args[1], &f)
		},
	}
	f.source.add(cmd)
	topic(cmd, topicOutput, func(fl *pflag.FlagSet) {
		choiceFlag(fl, &f.to, "to", "", []string{"zvhd2", "raw", "qcow2"}, "what to write, whatever the name of the output: zvhd2, raw or qcow2")
		choiceFlag(fl, &f.compression, "compression", "none", []string{"none", "zlib", "zstd"}, "compression of QCOW2: none, zlib or zstd (which needs qemu 5.1 or later)")
		fl.BoolVarP(&f.force, "force", "f", false, "overwrite the output")
		levelFlag(fl, &f.level, zvhd2.LevelDefault, "compression of ZVHD2")
		jsonFlag(fl, &f.asJSON)
	})
	f.bucket.add(a, cmd)
	return cmd
}

func (a *app) convert(ctx context.Context, from, to string, f *convertFlags) error {
	if f.asJSON && to == "-" {
		return usagef("--json and an output of - both use standard output; give a file name")
	}
	if _, err := a.checkOutput(to, from, f.force); err != nil {
		return err
	}
	src, err := a.openAny(ctx, from, &f.source, &f.bucket)
	if err != nil {
		return err
	}
	defer src.Close()
	format, err := src.target(from, to, f.to)
	if err != nil {
		return err
	}
	if f.compression != qcow2.CompressionNone && format != rawimage.FormatQCOW2 {
		return usagef("--compression is for QCOW2; the compression of ZVHD2 is --level")
	}
	start := time.Now()
	rawSize := int64(0)
	if format == rawimage.FormatRaw {
		rawSize = src.Size()
	}
	out, err := a.create(to, from, f.force, rawSize)
	if err != nil {
		return err
	}
	res := converted{Source: from, SourceFormat: string(src.Format()), Output: to, Format: string(format), DiskSize: src.Size(), Warnings: src.Warnings()}
	err = out.done(func() error {
		show := a.progress()
		defer show.finish()
		switch {
		case format == rawimage.FormatQCOW2:
			return src.unchanged(src.encodeQCOW2(ctx, out, &res, f.compression, show))
		case src.isContainer():
			return src.decode(ctx, out, &res, containerProgress(show, "convert"))
		case format == rawimage.FormatRaw:
			return src.unchanged(src.copy(ctx, out, &res, show))
		}
		return src.unchanged(src.encode(ctx, out, &res, zvhd2.WithLevel(f.level), containerProgress(show, "convert")))
	}())
	if err != nil {
		return err
	}
	res.Seconds = time.Since(start).Seconds()
	return a.printConverted(&res, f.asJSON)
}

func (a *app) printConverted(res *converted, asJSON bool) error {
	if !a.quiet {
		fmt.Fprintf(a.stderr, "%s: %s from %s, disk %s%s, %.2fs\n", res.Output, res.Format, res.SourceFormat, size(res.DiskSize), res.detail, res.Seconds)
		for _, w := range res.Warnings {
			fmt.Fprintf(a.stderr, "warning: %s\n", oneLine(w))
		}
	}
	if !asJSON {
		return nil
	}
	if res.Warnings == nil {
		res.Warnings = []string{}
	}
	return a.printJSON(res)
}

// outputNames are the extensions by which the format of an output is known.
var outputNames = map[string]rawimage.Format{
	".zvhd2": rawimage.FormatZVHD2, ".raw": rawimage.FormatRaw, ".img": rawimage.FormatRaw, ".qcow2": rawimage.FormatQCOW2,
}

// target is the format to write: by --to, else by the name of the output. What
// neither says is not guessed.
func (s *source) target(from, to string, want rawimage.Format) (rawimage.Format, error) {
	format, ext := want, strings.ToLower(filepath.Ext(to))
	switch {
	case format != "":
	case to == "-" && s.isContainer():
		format = rawimage.FormatRaw
	case to == "-":
		format = rawimage.FormatZVHD2
	default:
		format = outputNames[ext]
	}
	switch {
	case format == "" && ext == "":
		return "", usagef("the name %s does not say what to write; add .zvhd2, .raw or .qcow2, or use --to", to)
	case format == "":
		return "", usagef("convert writes ZVHD2, RAW and QCOW2, not %s; use an output such as disk.zvhd2, disk.raw or disk.qcow2, or --to", ext)
	case format == rawimage.FormatQCOW2 && to == "-":
		return "", usagef("QCOW2 cannot be written to standard output: its tables are written last; give a file name")
	case s.isContainer() && format == rawimage.FormatZVHD2:
		return "", usagef("%s is %s already and can be converted to RAW; use an output such as disk.raw, or 'fastimage optimize'", from, string(s.Format()))
	}
	return format, nil
}

// encode writes a disk as ZVHD2 and describes the result.
func (s *source) encode(ctx context.Context, out *output, res *converted, opts ...zvhd2.Option) error {
	// Records of well compressed blocks are a few KiB: fewer, larger writes.
	w := bufio.NewWriterSize(out, 1<<20)
	var sum *zvhd2.Summary
	var err error
	if s.Disk != nil {
		disk, done := s.ReadAhead(ctx)
		defer done()
		sum, err = zvhd2.Encode(ctx, w, disk, s.Size(), opts...)
	} else {
		sum, err = zvhd2.EncodeStream(ctx, w, s.Forward, s.Forward.Size(), opts...)
	}
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		return err
	}
	id := uuid.UUID(sum.UUID).String()
	res.DiskSize, res.DataBytes, res.FileSize, res.UUID = sum.DiskSize, &sum.DataBytes, sum.FileSize, &id
	res.detail = fmt.Sprintf(", data %s, file %s, %s", size(sum.DataBytes), size(sum.FileSize), "blocks: "+cmp.Or(sum.Levels.String(), "none"))
	return nil
}

// encodeQCOW2 writes a disk as QCOW2 and describes the result.
func (s *source) encodeQCOW2(ctx context.Context, out *output, res *converted, c qcow2.Compression, show display) error {
	opts := []qcow2.EncodeOption{qcow2.WithCompression(c), qcow2.WithProgress(func(p qcow2.EncodeProgress) {
		show.show(step{phase: "convert", done: p.Done, total: p.Total, skipped: p.Done - p.Data})
	})}
	var sum *qcow2.Summary
	var err error
	switch {
	case s.Sequence != nil:
		sum, err = s.sequenceToQCOW2(ctx, out, opts)
	case s.Forward != nil:
		sum, err = qcow2.EncodeStream(ctx, out, s.Forward, s.Size(), opts...)
	default:
		disk, done := s.ReadAhead(ctx)
		defer done()
		sum, err = qcow2.Encode(ctx, out, disk, s.Size(), opts...)
	}
	if err != nil {
		return err
	}
	res.DiskSize, res.DataBytes, res.FileSize = sum.DiskSize, &sum.DataBytes, sum.FileSize
	res.detail = fmt.Sprintf(", data %s, file %s", size(sum.DataBytes), size(sum.FileSize))
	return nil
}

// sequenceToQCOW2 unpacks a container that can only be read in order, straight
// into the encoder.
func (s *source) sequenceToQCOW2(ctx context.Context, out *output, opts []qcow2.EncodeOption) (*qcow2.Summary, error) {
	pr, pw := io.Pipe()
	go func() { _ = pw.CloseWithError(s.Sequence.DecodeStream(ctx, pw)) }()
	sum, err := qcow2.EncodeStream(ctx, out, pr, s.Size(), opts...)
	if err == nil { // the checks at the end of the container
		_, err = io.Copy(io.Discard, pr)
	}
	_ = pr.CloseWithError(err)
	return sum, err
}

// decode writes the disk in a container to out: with holes into a file, in
// sequence to standard output.
func (s *source) decode(ctx context.Context, out *output, res *converted, opts ...zvhd2.Option) error {
	res.FileSize = s.Size()
	switch {
	case s.Container != nil && out.std != nil:
		return s.Container.DecodeStream(ctx, out, opts...)
	case s.Container != nil:
		return s.Container.Decode(ctx, out.disk(), opts...)
	case out.std != nil:
		return s.Sequence.DecodeStream(ctx, out, opts...)
	}
	return s.Sequence.Decode(ctx, out.disk(), opts...)
}
