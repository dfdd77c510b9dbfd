package command

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fastimage/fastimage/bitmap"
)

// bitmapReport is what bitmap --json prints. The names are stable.
type bitmapReport struct {
	File       string `json:"file"`
	Layout     string `json:"layout"`
	Assumed    bool   `json:"assumed"`
	BlockSize  int64  `json:"block_size"`
	Blocks     int64  `json:"blocks"`
	DataBlocks int64  `json:"data_blocks"`
	DataBytes  int64  `json:"data_bytes"`
	Size       int64  `json:"size"`
}

func (a *app) bitmapCmd() *cobra.Command {
	var force, asJSON bool
	var layoutText string
	var flags sourceFlags
	var bucket bucketFlags
	cmd := &cobra.Command{
		Use:   "bitmap [flags] IMAGE [OUT.mf]",
		Short: "write the bitmap file (.mf) of a RAW image",
		Long: `Bitmap writes a .mf file that records which blocks of the disk in IMAGE hold data,
by default next to IMAGE, with the same name and the extension .mf. An output of -
is standard output. IMAGE may have any format that convert reads; the bitmap is
that of the RAW disk in it.

The layout of .mf files is not documented publicly. What is written is an
assumption: one bit per 2 MiB of disk, least significant bit first, 1 for data,
padded to a multiple of 4096 bytes, no header. --layout selects another one, in the
text form that the Go package bitmap documents; the default is
` + bitmap.DefaultLayout().String() + `

With --json it prints one object: file, layout, assumed (true for the default
layout), block_size, blocks, data_blocks, data_bytes, size.

'fastimage bitmap infer' finds the layout of a file that the vendor's tool wrote.
For an image called infer, write ./infer.`,
		Example: `  fastimage bitmap testdata/disk.raw disk.mf`,
		Args:    argCount(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			out, err := bitmapName(args)
			if err != nil {
				return err
			}
			if asJSON && out == "-" {
				return usagef("--json and an output of - both use standard output; give a file name")
			}
			layout, err := parseLayout("--layout", layoutText)
			if err != nil {
				return err
			}
			return a.writeBitmap(cmd.Context(), args[0], out, &flags, &bucket, layout, force, asJSON)
		},
	}
	flags.add(cmd)
	bucket.add(a, cmd)
	cmd.AddCommand(a.inferCmd())
	topic(cmd, topicOutput, func(fl *pflag.FlagSet) {
		fl.StringVar(&layoutText, "layout", bitmap.DefaultLayout().String(), "layout of the file; the default is an assumption")
		fl.BoolVarP(&force, "force", "f", false, "overwrite the output")
		jsonFlag(fl, &asJSON)
	})
	return cmd
}

// parseLayout reads the layout given to a flag.
func parseLayout(flag, text string) (bitmap.Layout, error) {
	l, err := bitmap.ParseLayout(text)
	if err != nil {
		return l, usagef("%s: %w", flag, err)
	}
	return l, nil
}

// bitmapName is the output named, or the name of the image with another
// extension.
func bitmapName(args []string) (string, error) {
	if len(args) > 1 {
		return args[1], nil
	}
	if args[0] == "-" {
		return "", usagef("the bitmap of standard input has no name; name the file to write")
	}
	if st, err := os.Stat(args[0]); err == nil && st.Mode()&fs.ModeDevice != 0 {
		return "", usagef("%s is a device; name the file to write", args[0])
	}
	name := args[0]
	if strings.Contains(name, "://") {
		name = baseName(name) // in the current directory
	}
	return strings.TrimSuffix(name, filepath.Ext(name)) + ".mf", nil
}

// scan finds the blocks that hold data.
func (a *app) scan(ctx context.Context, src *source, block int64) (bm *bitmap.Bitmap, err error) {
	show := a.progress()
	defer show.finish()
	opts := []bitmap.Option{bitmap.WithBlockSize(block), bitmap.WithProgress(func(p bitmap.Progress) {
		show.show(step{phase: "scan", done: p.Done, total: p.Total})
	})}
	if src.Disk != nil {
		bm, err = bitmap.Scan(ctx, src.Disk, src.Size(), opts...)
	} else {
		// One worker: more would send the stream back and forth.
		packed, perr := src.packed()
		if perr != nil {
			return nil, perr
		}
		bm, err = bitmap.Scan(ctx, packed, src.Size(), append(opts, bitmap.WithWorkers(1))...)
	}
	return bm, src.unchanged(err)
}

func (a *app) writeBitmap(ctx context.Context, from, to string, flags *sourceFlags, bucket *bucketFlags, layout bitmap.Layout, force, asJSON bool) error {
	src, err := a.openAny(ctx, from, flags, bucket)
	if err != nil {
		return err
	}
	defer src.Close()
	if src.isContainer() {
		return advisef("write the bitmap of the RAW image that it was made of", "%s is %s, which has a bitmap of its own", from, string(src.Format()))
	}
	// Before the scan, which takes as long as the disk is large.
	out, err := a.create(to, from, force, 0)
	if err != nil {
		return err
	}
	bm, err := a.scan(ctx, src, layout.BlockSize)
	if err == nil {
		err = bm.Encode(out, layout)
	}
	if err := out.done(err); err != nil {
		return err
	}
	assumed := layout.Equal(bitmap.DefaultLayout())
	if asJSON {
		return a.printJSON(bitmapReport{to, layout.String(), assumed, bm.BlockSize(), bm.Blocks(), bm.Count(), bm.DataBytes(), bm.Size()})
	}
	if !a.quiet {
		fmt.Fprintf(a.stderr, "%s\n%s: %d of %d blocks of %s hold data\n", bm.Render(mapWidth), to, bm.Count(), bm.Blocks(), size(bm.BlockSize()))
		if assumed {
			fmt.Fprintln(a.stderr, "note: the layout is an assumption")
		}
	}
	return nil
}
