package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fastimage/fastimage/zvhd2"
)

func (a *app) optimizeCmd() *cobra.Command {
	var force, recovery bool
	var lvl string
	cmd := &cobra.Command{
		Use:   "optimize [flags] IN OUT.zvhd2",
		Short: "rewrite a ZVHD2 or ZVHD file as a canonical ZVHD2",
		Long: `Optimize rewrites IN with zstd, a dense index, blocks in order, no zero blocks
and nothing between the records. What is compressed well already is taken over
unless --level asks for it anew. With --recover a damaged or cut file is read as
far as it is whole, and what is lost is told; lost blocks read as zeros.`,
		Example: `  fastimage optimize old.zvhd2 new.zvhd2
  fastimage optimize --recover cut.zvhd2 saved.zvhd2`,
		Args: argCount(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			var opts []zvhd2.Option
			if cmd.Flags().Changed("level") {
				l, err := level(lvl)
				if err != nil {
					return err
				}
				opts = append(opts, zvhd2.WithLevel(l))
			}
			return a.optimize(cmd.Context(), args[0], args[1], force, recovery, opts)
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "overwrite the output")
	cmd.Flags().BoolVar(&recovery, "recover", false, "save what is whole of a damaged file")
	cmd.Flags().StringVar(&lvl, "level", "", "compress anew: fastest, default, better, best or auto")
	return cmd
}

func (a *app) optimize(ctx context.Context, from, to string, force, recovery bool, opts []zvhd2.Option) error {
	in, n, err := openPlain(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := a.create(to, from, force)
	if err != nil {
		return err
	}
	var told string
	err = out.done(func() (err error) {
		show := a.progress()
		defer show.finish()
		opts := append(opts, containerProgress(show, "optimize"))
		w := bufio.NewWriterSize(out, 1<<20)
		if recovery {
			told, err = saved(ctx, w, in, n, opts)
		} else {
			told, err = optimized(ctx, w, in, n, opts)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", from, err)
		}
		return w.Flush()
	}())
	if err == nil && !a.quiet {
		fmt.Fprintf(a.stderr, "%s: %s\n", to, told)
	}
	return err
}

func optimized(ctx context.Context, w *bufio.Writer, in *os.File, n int64, opts []zvhd2.Option) (string, error) {
	rep, err := zvhd2.Optimize(ctx, w, in, n, opts...)
	if err != nil {
		return "", err
	}
	change := "saved " + size(rep.SavedBytes)
	if rep.SavedBytes < 0 {
		change = "grew by " + size(-rep.SavedBytes)
	}
	out := fmt.Sprintf("file %s, %s, %d blocks taken over, %d compressed anew, %d zero blocks dropped",
		size(rep.FileSize), change, rep.Carried, rep.Recompressed, rep.DroppedZeros)
	for _, c := range rep.Changes {
		out += "\n  " + oneLine(c)
	}
	return out, nil
}

// mostRanges bounds the list of lost blocks: a badly damaged file has
// thousands of ranges, and the numbers have been given.
const mostRanges = 20

func saved(ctx context.Context, w *bufio.Writer, in *os.File, n int64, opts []zvhd2.Option) (string, error) {
	rep, err := zvhd2.Recover(ctx, w, in, n, opts...)
	if err != nil {
		return "", err
	}
	out := fmt.Sprintf("file %s, %d blocks recovered", size(rep.FileSize), rep.Recovered)
	if rep.Complete() {
		return out + ", nothing lost", nil
	}
	return out + ranges("lost", rep.Lost) + ranges("perhaps lost", rep.Doubtful), nil
}

func ranges(what string, list []zvhd2.BlockRange) string {
	if len(list) == 0 {
		return ""
	}
	var text []string
	for i, r := range list {
		if i == mostRanges {
			text = append(text, fmt.Sprintf("and %d more ranges", len(list)-i))
			break
		}
		text = append(text, fmt.Sprintf("%d-%d", r.First, r.Last))
	}
	return "\n  " + what + ": blocks " + strings.Join(text, ", ")
}
