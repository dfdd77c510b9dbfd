package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fastimage/fastimage/bitmap"
	"github.com/fastimage/fastimage/bitmap/infer"
	"github.com/fastimage/fastimage/rawimage"
)

// inferReport is what bitmap infer --json prints. The names are stable.
type inferReport struct {
	File    string         `json:"file"`
	Layouts []string       `json:"layouts"` // the likeliest first
	Total   int            `json:"total"`   // those that are not listed included
	Open    []string       `json:"open"`    // parts in which they differ
	Weak    bool           `json:"weak"`    // there is too little in the file to tell
	Closest *closestReport `json:"closest"` // null if there are layouts
}

type closestReport struct {
	Layout       string `json:"layout"`
	DifferBytes  int64  `json:"differ_bytes"`
	FirstOffset  int64  `json:"first_offset"`
	BytesInTotal int64  `json:"bytes"`
}

func (a *app) inferCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "infer [flags] RAW VENDOR.mf",
		Short: "find the layout of a .mf file that another tool wrote",
		Long: `Infer finds the layouts in which the bitmap of RAW equals VENDOR.mf byte for byte;
VENDOR.mf is a bitmap file that the vendor's tool wrote for the same RAW image. It
prints one layout per line, the most likely first, in the form that 'bitmap
--layout' and 'import --mf-layout' accept. If there are several, this image does not
determine the layout: try another one with a different size or other data. Exit
status 1 means that there is none; the message then describes the closest.

With --json it prints one object: file, layouts, total (up to 64 are listed), open
(the parts in which they differ), weak (the image has too little data to decide),
closest (layout, differ_bytes, first_offset, bytes; null if there are layouts).`,
		Example: `  fastimage bitmap infer disk.raw vendor.mf
  fastimage bitmap --layout "$(fastimage bitmap infer disk.raw vendor.mf | head -n 1)" other.raw`,
		Args: argCount(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			res, err := a.infer(cmd.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			return a.printInference(args[1], res, asJSON)
		},
	}
	topic(cmd, topicOutput, func(fl *pflag.FlagSet) { jsonFlag(fl, &asJSON) })
	return cmd
}

func (a *app) infer(ctx context.Context, name, mfName string) (*infer.Result, error) {
	mf, err := fileBytes(ctx, mfName)
	if err != nil {
		return nil, err
	}
	defer mf.Close()
	raw, err := rawimage.Open(name)
	if err != nil {
		return nil, err
	}
	defer raw.Close()
	bm, err := func() (*bitmap.Bitmap, error) {
		show := a.progress()
		defer show.finish()
		return bitmap.Scan(ctx, raw, raw.Size(), bitmap.WithBlockSize(infer.BlockSize), bitmap.WithProgress(func(p bitmap.Progress) {
			show.show(step{phase: "scan", done: p.Done, total: p.Total})
		}))
	}()
	if err != nil {
		return nil, err
	}
	res, err := infer.Layouts(ctx, bm, io.NewSectionReader(mf.ReaderAt, 0, mf.Size))
	if format, ok := errors.AsType[*bitmap.FormatError](err); ok {
		return nil, advisef("check that it is the bitmap file of "+name, "%s: %w", mfName, format)
	}
	if err == nil {
		err = raw.CheckUnchanged()
	}
	return res, err
}

func (a *app) printInference(name string, res *infer.Result, asJSON bool) error {
	report := inferReport{File: name, Layouts: []string{}, Total: res.Total, Open: append([]string{}, res.Undecided...), Weak: res.Weak}
	for _, l := range res.Layouts {
		report.Layouts = append(report.Layouts, l.String())
	}
	if c := res.Closest; c != nil {
		report.Closest = &closestReport{c.Layout.String(), c.Differs, c.Offset, c.FileSize}
	}
	if asJSON {
		if err := a.printJSON(report); err != nil {
			return err
		}
	} else if len(report.Layouts) > 0 {
		if _, err := fmt.Fprintln(a.stdout, strings.Join(report.Layouts, "\n")); err != nil {
			return fmt.Errorf("standard output: %w", err)
		}
	}
	if len(report.Layouts) == 0 {
		return noLayout(report)
	}
	if !a.quiet && !asJSON {
		for _, n := range inferNotes(report) {
			fmt.Fprintln(a.stderr, "note: "+n)
		}
	}
	return nil
}

func noLayout(r inferReport) error {
	text := fmt.Sprintf("no layout reproduces %s", r.File)
	if c := r.Closest; c != nil {
		text += fmt.Sprintf("; the closest, %s, differs in %d of %d bytes, the first at byte %d", c.Layout, c.DifferBytes, c.BytesInTotal, c.FirstOffset)
	}
	return advisef("check that the file was made from this image", "%s", text)
}

func inferNotes(r inferReport) (notes []string) {
	if r.Total > 1 {
		n := fmt.Sprintf("%d layouts reproduce %s, the likeliest first; this image does not tell: %s", r.Total, r.File, strings.Join(r.Open, ", "))
		if r.Total > len(r.Layouts) {
			n += fmt.Sprintf(" (the first %d are listed)", len(r.Layouts))
		}
		notes = append(notes, n, "infer from another image, of another size or with other data, and take what both have")
	}
	if r.Weak {
		notes = append(notes, "the image has so little data that the layout may be chance; infer from a larger one")
	}
	return notes
}
