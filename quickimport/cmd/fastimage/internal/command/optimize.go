package command

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fastimage/fastimage/zvhd2"
)

func (a *app) optimizeCmd() *cobra.Command {
	var force, recovery, asJSON bool
	var lvl zvhd2.Level
	cmd := &cobra.Command{
		Use:   "optimize [flags] IN OUT.zvhd2",
		Short: "rewrite a ZVHD2 or ZVHD file as a canonical ZVHD2",
		Long: `Optimize rewrites IN with zstd, a dense index, blocks in order, no zero blocks and
no gaps between records. Blocks that are compressed well already are copied,
unless --level is given. With --recover, everything that is intact in a damaged or
truncated file is saved, and what is lost is reported; lost blocks read as zeros.

With --json it prints one object: format, input_size, disk_size, file_size,
blocks, stored_blocks and levels (blocks by how they are stored: fastest, default,
better, best, incompressible, taken_over, which were copied). Then saved_bytes,
dropped_zeros and changes; with --recover instead recovered, complete, cut_off,
cut_at, and the ranges of blocks lost and perhaps_lost (first, last).`,
		Example: `  fastimage optimize old.zvhd2 new.zvhd2
  fastimage optimize --recover cut.zvhd2 saved.zvhd2`,
		Args: argCount(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			var opts []zvhd2.Option
			if cmd.Flags().Changed("level") {
				opts = append(opts, zvhd2.WithLevel(lvl))
			}
			if asJSON && args[1] == "-" {
				return usagef("--json and an output of - both use standard output; give a file name")
			}
			return a.optimize(cmd.Context(), args[0], args[1], force, recovery, asJSON, opts)
		},
	}
	topic(cmd, topicOutput, func(fl *pflag.FlagSet) {
		fl.BoolVarP(&force, "force", "f", false, "overwrite the output")
		fl.BoolVar(&recovery, "recover", false, "save what is intact of a damaged file")
		levelFlag(fl, &lvl, zvhd2.LevelDefault, "compress all blocks again with this level")
		fl.Lookup("level").DefValue = ""
		jsonFlag(fl, &asJSON)
	})
	return cmd
}

func (a *app) optimize(ctx context.Context, from, to string, force, recovery, asJSON bool, opts []zvhd2.Option) error {
	src, err := fileBytes(ctx, from)
	if err != nil {
		return err
	}
	defer src.Close()
	in, n := src.ReaderAt, src.Size
	if err := foreign(in, n, from); err != nil {
		return err
	}
	out, err := a.create(to, from, force, 0)
	if err != nil {
		return err
	}
	var rep optimizeReport
	err = out.done(func() (err error) {
		show := a.progress()
		defer show.finish()
		opts := append(opts, containerProgress(show, "optimize"))
		w := bufio.NewWriterSize(out, 1<<20)
		if recovery {
			rep, err = saved(ctx, w, in, n, opts)
		} else {
			rep, err = optimized(ctx, w, in, n, opts)
		}
		if _, damaged := errors.AsType[*zvhd2.FormatError](err); damaged && !recovery {
			return advisef("list all problems with 'fastimage verify', or save what is intact with --recover", "%s: %w", from, err)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", from, err)
		}
		return w.Flush()
	}())
	switch {
	case err != nil:
		return err
	case asJSON:
		return a.printJSON(rep)
	case !a.quiet:
		fmt.Fprintf(a.stderr, "%s: %s\n", to, rep.text())
	}
	return nil
}

// optimizeReport is what --json prints.
type optimizeReport struct {
	Format       string     `json:"format"` // of the input
	InputSize    int64      `json:"input_size"`
	DiskSize     int64      `json:"disk_size"`
	FileSize     int64      `json:"file_size"`
	Blocks       int64      `json:"blocks"`
	StoredBlocks int64      `json:"stored_blocks"`
	Levels       levelsJSON `json:"levels"`

	*optimizeChanges
	*optimizeLosses
}

type levelsJSON struct {
	Fastest        int64 `json:"fastest"`
	Default        int64 `json:"default"`
	Better         int64 `json:"better"`
	Best           int64 `json:"best"`
	Incompressible int64 `json:"incompressible"`
	TakenOver      int64 `json:"taken_over"`
}

// optimizeChanges is there without --recover, optimizeLosses with it.
type optimizeChanges struct {
	SavedBytes   int64    `json:"saved_bytes"`
	DroppedZeros int64    `json:"dropped_zeros"`
	Changes      []string `json:"changes"`
}

type optimizeLosses struct {
	Recovered   int64              `json:"recovered"`
	Complete    bool               `json:"complete"`
	CutOff      bool               `json:"cut_off"`
	CutAt       int64              `json:"cut_at"`
	Lost        []zvhd2.BlockRange `json:"lost"`
	PerhapsLost []zvhd2.BlockRange `json:"perhaps_lost"`
}

func newOptimizeReport(format string, input int64, s *zvhd2.Summary) optimizeReport {
	l := s.Levels
	return optimizeReport{
		Format: format, InputSize: input, DiskSize: s.DiskSize, FileSize: s.FileSize, Blocks: s.Blocks, StoredBlocks: s.StoredBlocks,
		Levels: levelsJSON{l.Fastest, l.Default, l.Better, l.Best, l.Incompressible, l.Kept},
	}
}

func optimized(ctx context.Context, w *bufio.Writer, in io.ReaderAt, n int64, opts []zvhd2.Option) (optimizeReport, error) {
	r, err := zvhd2.Optimize(ctx, w, in, n, opts...)
	if err != nil {
		return optimizeReport{}, err
	}
	rep := newOptimizeReport(r.Format, r.InputSize, &r.Summary)
	rep.optimizeChanges = &optimizeChanges{r.SavedBytes, r.DroppedZeros, append([]string{}, r.Changes...)}
	return rep, nil
}

func saved(ctx context.Context, w *bufio.Writer, in io.ReaderAt, n int64, opts []zvhd2.Option) (optimizeReport, error) {
	r, err := zvhd2.Recover(ctx, w, in, n, opts...)
	if err != nil {
		return optimizeReport{}, err
	}
	rep := newOptimizeReport(r.Format, r.InputSize, &r.Summary)
	none := []zvhd2.BlockRange{} // [] in JSON
	rep.optimizeLosses = &optimizeLosses{
		r.Recovered, r.Complete(), r.Truncated, r.UsedBytes, append(none, r.Lost...), append(none, r.Doubtful...),
	}
	return rep, nil
}

func (r *optimizeReport) text() string {
	if l := r.optimizeLosses; l != nil {
		out := fmt.Sprintf("file %s, %d blocks recovered", size(r.FileSize), l.Recovered)
		if l.Complete {
			return out + ", nothing lost"
		}
		return out + ranges("lost", l.Lost) + ranges("perhaps lost", l.PerhapsLost)
	}
	change := "saved " + size(r.SavedBytes)
	if r.SavedBytes < 0 {
		change = "grew by " + size(-r.SavedBytes)
	}
	out := fmt.Sprintf("file %s, %s, %d blocks copied, %d compressed again, %d zero blocks dropped",
		size(r.FileSize), change, r.Levels.TakenOver, r.StoredBlocks-r.Levels.TakenOver, r.DroppedZeros)
	for _, c := range r.Changes {
		out += "\n  " + oneLine(c)
	}
	return out
}

// mostRanges bounds the list of lost blocks: a badly damaged file has
// thousands of ranges, and the numbers have been given.
const mostRanges = 20

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
