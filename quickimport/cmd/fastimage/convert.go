package main

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fastimage/fastimage/zvhd2"
)

func (a *app) convertCmd() *cobra.Command {
	var force bool
	var lvl string
	cmd := &cobra.Command{
		Use:   "convert [flags] IN OUT",
		Short: "convert RAW to ZVHD2, or ZVHD2 and ZVHD to RAW",
		Long: `Convert writes a RAW image as ZVHD2, and a ZVHD2 or ZVHD file as RAW; the
content of IN decides. The output appears under its name only when it is whole:
until then it has a temporary name in the same directory, which is removed on
failure. Zeros of a RAW output are left as holes. An output of - is standard
output.`,
		Example: `  fastimage convert testdata/disk.raw disk.zvhd2
  fastimage convert disk.zvhd2 disk.raw
  fastimage convert testdata/disk.raw - | ssh backup 'cat > disk.zvhd2'`,
		Args: argCount(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := level(lvl)
			if err != nil {
				return err
			}
			return a.convert(cmd.Context(), args[0], args[1], l, force)
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "overwrite the output")
	cmd.Flags().StringVar(&lvl, "level", "default", "compression of ZVHD2: fastest, default, better, best or auto")
	return cmd
}

func (a *app) convert(ctx context.Context, from, to string, l zvhd2.Level, force bool) error {
	src, err := open(ctx, from)
	if err != nil {
		return err
	}
	defer src.Close()
	if ext := strings.ToLower(filepath.Ext(to)); src.raw == nil && (ext == ".zvhd2" || ext == ".zvhd") {
		return usagef("%s is %s already and would be converted to RAW; give the output a name such as disk.raw", from, src.format())
	}
	start := time.Now()
	out, err := a.create(to, from, force)
	if err != nil {
		return err
	}
	var what string
	err = out.done(func() (err error) {
		show := a.progress()
		defer show.finish()
		progress := containerProgress(show, "convert")
		if src.raw != nil {
			what, err = src.encode(ctx, out, zvhd2.WithLevel(l), progress)
			return err
		}
		what = "disk " + size(src.size())
		return src.decode(ctx, out, progress)
	}())
	if err == nil && !a.quiet {
		fmt.Fprintf(a.stderr, "%s: %s, %.2fs\n", to, what, time.Since(start).Seconds())
	}
	return err
}

// encode writes a RAW image as ZVHD2 and describes the result.
func (s *source) encode(ctx context.Context, out *output, opts ...zvhd2.Option) (string, error) {
	// Records of well compressed blocks are a few KiB: fewer, larger writes.
	w := bufio.NewWriterSize(out, 1<<20)
	sum, err := zvhd2.Encode(ctx, w, s.raw, s.raw.Size(), opts...)
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = s.raw.CheckUnchanged()
	}
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("disk %s, data %s, file %s, %s", size(sum.DiskSize), size(sum.DataBytes), size(sum.FileSize), chosen(sum.Levels)), nil
}

// chosen says how many blocks were compressed at which level.
func chosen(l zvhd2.LevelCounts) string {
	var parts []string
	for _, c := range []struct {
		name string
		n    int64
	}{{"fastest", l.Fastest}, {"default", l.Default}, {"better", l.Better}, {"best", l.Best}, {"incompressible", l.Stored}} {
		if c.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", c.n, c.name))
		}
	}
	return "blocks: " + cmp.Or(strings.Join(parts, ", "), "none")
}
