package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/fastimage/fastimage/bitmap"
)

// info is what info --json prints. The names are stable.
type info struct {
	Format       string     `json:"format"`       // raw or zvhd2
	VirtualSize  int64      `json:"virtual_size"` // the disk a server sees
	FileSize     int64      `json:"file_size"`
	StoredBlocks int64      `json:"stored_blocks"` // blocks that are not all zeros
	Blocks       int64      `json:"blocks"`
	BlockSize    int64      `json:"block_size"`
	Compression  string     `json:"compression"` // none, zstd or zlib
	UUID         *string    `json:"uuid"`        // null for raw
	Created      *time.Time `json:"created"`     // null for raw
}

func (a *app) infoCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "info [flags] FILE",
		Short: "describe a RAW or ZVHD2 file",
		Long: `Info describes FILE. A RAW file is scanned for blocks that hold data; of a
ZVHD2 file only the header and the tables are read.

With --json it prints one object: format, virtual_size, file_size,
stored_blocks, blocks, block_size, compression, uuid, created. Sizes are in
bytes; uuid and created are null for RAW.`,
		Example: `  fastimage info testdata/disk.raw
  fastimage info --json disk.zvhd2`,
		Args: argCount(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in, err := describe(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(in)
			}
			return a.printInfo(in)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object on standard output")
	return cmd
}

func describe(ctx context.Context, name string) (*info, error) {
	src, err := open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	if src.raw != nil {
		return src.describeRaw(ctx)
	}
	if src.stream != nil {
		return nil, hintf("%s is ZVHD, which has no tables to describe it; convert it to RAW first", name)
	}
	st, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	h := src.container.Info()
	id, created := uuid.UUID(h.UUID).String(), h.Created.UTC()
	return &info{
		Format: "zvhd2", VirtualSize: h.VirtualSize, FileSize: st.Size(),
		StoredBlocks: h.StoredBlocks, Blocks: h.Blocks, BlockSize: h.BlockSize,
		Compression: h.Compression, UUID: &id, Created: &created,
	}, nil
}

func (s *source) describeRaw(ctx context.Context) (*info, error) {
	bm, err := bitmap.Scan(ctx, s.raw, s.raw.Size())
	if err != nil {
		return nil, err
	}
	return &info{
		Format: "raw", VirtualSize: s.raw.Size(), FileSize: s.raw.Size(),
		StoredBlocks: bm.Count(), Blocks: bm.Blocks(), BlockSize: bm.BlockSize(),
		Compression: "none",
	}, nil
}

func (a *app) printInfo(in *info) error {
	_, err := fmt.Fprintf(a.stdout, "format        %s\nvirtual size  %s (%d bytes)\nfile size     %s (%d bytes)\nblocks        %d of %d stored, %s each\ncompression   %s\n",
		in.Format, size(in.VirtualSize), in.VirtualSize, size(in.FileSize), in.FileSize,
		in.StoredBlocks, in.Blocks, size(in.BlockSize), in.Compression)
	if err == nil && in.UUID != nil {
		_, err = fmt.Fprintf(a.stdout, "uuid          %s\ncreated       %s\n", *in.UUID, in.Created.Format(time.RFC3339))
	}
	return err
}
