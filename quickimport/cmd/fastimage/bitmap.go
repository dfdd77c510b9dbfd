package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fastimage/fastimage/bitmap"
)

func (a *app) bitmapCmd() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "bitmap [flags] RAW [OUT.mf]",
		Short: "write the bitmap (.mf) that a RAW image needs beside it",
		Long: `Bitmap writes which blocks of RAW hold data, as a .mf file: by default beside
RAW, under its name with the extension .mf. An output of - is standard output.

The layout of .mf files is not documented publicly. What is written is an
assumption: one bit per 2 MiB of disk, least significant bit first, 1 for data,
padded to whole segments of 4096 bytes, no header.`,
		Example: `  fastimage bitmap testdata/disk.raw disk.mf`,
		Args:    argCount(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			out := strings.TrimSuffix(args[0], filepath.Ext(args[0])) + ".mf"
			if len(args) > 1 {
				out = args[1]
			}
			return a.writeBitmap(cmd.Context(), args[0], out, force)
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "overwrite the output")
	return cmd
}

func (a *app) writeBitmap(ctx context.Context, from, to string, force bool) error {
	raw, err := openRaw(ctx, from)
	if err != nil {
		return err
	}
	defer raw.Close()
	bm, err := bitmap.Scan(ctx, raw, raw.Size())
	if err != nil {
		return err
	}
	out, err := a.create(to, from, force)
	if err != nil {
		return err
	}
	if err := out.done(bm.Encode(out, bitmap.DefaultLayout())); err != nil {
		return err
	}
	if !a.quiet {
		fmt.Fprintf(a.stderr, "%s: %d of %d blocks of %s hold data; the layout is an assumption\n",
			to, bm.Count(), bm.Blocks(), size(bm.BlockSize()))
	}
	return nil
}
