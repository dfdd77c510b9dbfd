package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fastimage/fastimage/quickimport"
	"github.com/fastimage/fastimage/rawimage"
	"github.com/fastimage/fastimage/rawimage/anyimage"
	"github.com/fastimage/fastimage/zvhd2"
)

func (a *app) verifyCmd() *cobra.Command {
	var against string
	var asJSON bool
	var bucket bucketFlags
	cmd := &cobra.Command{
		Use:   "verify [flags] FILE",
		Short: "check a ZVHD2 or ZVHD file, every structure and every payload",
		Long: `Verify checks FILE, or the object obs://BUCKET/KEY by range requests, and lists all
problems, each with its block and its offset in the file. The exit status is 0 only
if there are none.

With --json it prints one object: format, size, file_size, blocks, stored,
checked, compared, problems, omitted (problems beyond the first 1000) and notes
(problems and notes each have kind, block, offset, field, count, message; block is
-1 where none is concerned). Notes are harmless peculiarities.`,
		Example: `  fastimage verify disk.zvhd2
  fastimage verify --against testdata/disk.raw disk.zvhd2
  fastimage verify --region cn-north-4 obs://images/disk.zvhd2`,
		Args: argCount(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.verify(cmd.Context(), &bucket, args[0], against, asJSON)
		},
	}
	bucket.add(a, cmd)
	topic(cmd, topicSource, func(fl *pflag.FlagSet) {
		fl.StringVar(&against, "against", "", "compare the content with this disk image")
	})
	topic(cmd, topicOutput, func(fl *pflag.FlagSet) { jsonFlag(fl, &asJSON) })
	return cmd
}

func (a *app) verify(ctx context.Context, bucket *bucketFlags, name, against string, asJSON bool) error {
	in, err := a.bytesOf(ctx, name, bucket)
	if err != nil {
		return err
	}
	defer in.Close()
	f, n := in.ReaderAt, in.Size
	if err := foreign(f, n, name); err != nil {
		return err
	}
	var opts []zvhd2.Option
	if against != "" {
		disk, err := openSource(ctx, quickimport.File(against))
		if err != nil {
			return err
		}
		defer disk.Close()
		if disk.Disk == nil {
			return &anyimage.UnsupportedError{Name: against, Format: disk.Format()}
		}
		opts = append(opts, zvhd2.WithReference(disk.Disk, disk.Size()))
	}
	rep, err := func() (*zvhd2.Report, error) {
		show := a.progress()
		defer show.finish()
		return zvhd2.Verify(ctx, f, n, append(opts, containerProgress(show, "verify"))...)
	}()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if asJSON {
		err = a.printJSON(rep)
	} else {
		err = a.printReport(name, rep)
	}
	if err == nil && !rep.OK() {
		err = advisef("create the file again, or save what is intact with 'fastimage optimize --recover'", "%s: %d problems found", name, int64(len(rep.Problems))+rep.Omitted)
	}
	return err
}

// foreign refuses a file of another format by its name, in place of complaints
// about a damaged container. A container whose start is damaged passes for RAW,
// so one that has the name or the end of a container is none's.
func foreign(f io.ReaderAt, n int64, name string) error {
	head, tail := make([]byte, min(n, 4096)), make([]byte, min(n, 4096))
	if _, err := f.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if _, err := f.ReadAt(tail, n-int64(len(tail))); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	format := rawimage.DetectFormat(head, nil)
	if format == rawimage.FormatZVHD2 || format == rawimage.FormatZVHD || strings.HasPrefix(strings.ToLower(filepath.Ext(name)), ".zvhd") {
		return nil
	}
	if end := rawimage.DetectFormat(tail, nil); end == rawimage.FormatZVHD2 || end == rawimage.FormatZVHD {
		return nil
	}
	if strings.HasPrefix(name, obsScheme) {
		return advisef("check the file that it was made from", "%s is %s; only ZVHD2 and ZVHD can be read in a bucket", name, format)
	}
	return advisef("'fastimage info' describes it, 'fastimage convert' converts it to ZVHD2", "%s is %s, not a ZVHD2 or ZVHD file", name, format)
}

func (a *app) printReport(name string, rep *zvhd2.Report) error {
	for _, p := range rep.Problems {
		if _, err := fmt.Fprintln(a.stdout, oneLine(p.Message)); err != nil {
			return err
		}
	}
	if rep.Omitted > 0 {
		if _, err := fmt.Fprintf(a.stdout, "and %d more\n", rep.Omitted); err != nil {
			return err
		}
	}
	if a.quiet {
		return nil
	}
	for _, p := range rep.Notes {
		fmt.Fprintln(a.stderr, "note: "+oneLine(p.Message))
	}
	if !rep.OK() {
		return nil
	}
	_, err := fmt.Fprintf(a.stdout, "%s: sound, %d of %d blocks stored, %d checked\n", name, rep.Stored, rep.Blocks, rep.Checked)
	return err
}

// bytesOf opens the bytes of a source, whatever they are, for reading at any
// offset. The caller closes them.
func (a *app) bytesOf(ctx context.Context, name string, bucket *bucketFlags) (*quickimport.Input, error) {
	if name == "-" {
		return nil, usagef("standard input is not seekable; give a file name")
	}
	src, err := a.plainSource(ctx, name, &sourceFlags{}, bucket)
	if err != nil {
		return nil, err
	}
	in, err := src.Open(ctx, nil)
	if err == nil && in.ReaderAt == nil {
		err = errors.Join(advisef("download it first", "%s: the server does not support ranges", src.Name()), in.Close())
	}
	return in, err
}

// fileBytes is bytesOf for a file. What is no file is refused without opening
// it: a pipe that nobody writes to would block.
func fileBytes(ctx context.Context, name string) (*quickimport.Input, error) {
	if name == "-" {
		return nil, usagef("standard input is not seekable; give a file name")
	}
	return quickimport.File(name).Open(ctx, nil)
}

// containerProgress shows the progress of the zvhd2 package as that of phase.
func containerProgress(d display, phase string) zvhd2.Option {
	return zvhd2.WithProgress(func(p zvhd2.Progress) {
		d.show(step{phase: phase, done: p.Done, total: p.Total, skipped: p.Skipped, written: p.Written})
	})
}
