package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/fastimage/fastimage/rawimage"
	"github.com/fastimage/fastimage/zvhd2"
)

func (a *app) convertCmd() *cobra.Command {
	var force bool
	var lvl string
	cmd := &cobra.Command{
		Use:   "convert [flags] RAW OUT.zvhd2",
		Short: "convert RAW to ZVHD2",
		Long: `Convert writes RAW as ZVHD2. The output appears under its name only when it is
whole: until then it has a temporary name in the same directory, which is
removed on failure. An output of - is standard output.`,
		Example: `  fastimage convert testdata/disk.raw disk.zvhd2
  fastimage convert testdata/disk.raw - | ssh backup 'cat > disk.zvhd2'`,
		Args: argCount(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := level(lvl)
			if err != nil {
				return err
			}
			return a.encode(cmd.Context(), args[0], args[1], l, force)
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "overwrite the output")
	cmd.Flags().StringVar(&lvl, "level", "default", "compression: fastest, default, better, best or auto")
	return cmd
}

func (a *app) encode(ctx context.Context, from, to string, l zvhd2.Level, force bool) (err error) {
	raw, err := rawimage.Open(from)
	if err != nil {
		return err
	}
	defer raw.Close()
	start := time.Now()
	out, err := a.create(to, from, force)
	if err != nil {
		return err
	}
	var sum *zvhd2.Summary
	err = out.done(func() error {
		show := a.progress()
		defer show.finish()
		w := bufio.NewWriterSize(out, 1<<20)
		sum, err = zvhd2.Encode(ctx, w, raw, raw.Size(), zvhd2.WithLevel(l), zvhd2.WithProgress(func(p zvhd2.Progress) {
			show.show(step{phase: "convert", done: p.Done, total: p.Total, skipped: p.Skipped, written: p.Written})
		}))
		return errors.Join(err, w.Flush(), raw.CheckUnchanged())
	}())
	if err != nil {
		return err
	}
	if !a.quiet {
		fmt.Fprintf(a.stderr, "%s: disk %s, data %s, file %s, %.2fs\n", to, size(sum.DiskSize), size(sum.DataBytes), size(sum.FileSize), time.Since(start).Seconds())
	}
	return nil
}
