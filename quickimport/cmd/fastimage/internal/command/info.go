package command

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fastimage/fastimage/bitmap"
	"github.com/fastimage/fastimage/rawimage/anyimage"
	inspect "github.com/fastimage/fastimage/rawimage/disk"
	"github.com/fastimage/fastimage/zvhd2"
)

// info is what info --json prints. The names are stable.
type info struct {
	Format       string     `json:"format"`       // raw, qcow2, ..., gzip, ..., zvhd2
	VirtualSize  int64      `json:"virtual_size"` // the disk a server sees
	FileSize     int64      `json:"file_size"`
	StoredBlocks int64      `json:"stored_blocks"` // blocks that are not all zeros
	Blocks       int64      `json:"blocks"`
	BlockSize    int64      `json:"block_size"`
	Compression  string     `json:"compression"` // none, zstd, zlib, ...
	UUID         *string    `json:"uuid"`        // null for all but zvhd2
	Created      *time.Time `json:"created"`     // null for all but zvhd2

	// Of all but zvhd2:
	Allocated *int64          `json:"allocated,omitempty"` // bytes that are no holes by the image's own tables
	Facts     []anyimage.Fact `json:"facts,omitempty"`     // what the format says beyond that
	Warnings  []string        `json:"warnings,omitempty"`
	Disk      *inspect.Info   `json:"disk,omitempty"` // the partition table and what follows from it
	data      *bitmap.Bitmap
}

func (a *app) infoCmd() *cobra.Command {
	var asJSON bool
	var bucket bucketFlags
	var flags sourceFlags
	cmd := &cobra.Command{
		Use:   "info [flags] FILE",
		Short: "describe a disk image or a ZVHD2 file",
		Long: `Info describes FILE, which may be a file or a URL (http, https, nbd, obs). A disk
image of any format is scanned for blocks that hold data, and its partition table
is read; a compressed one is decompressed up to three times for this. Of a ZVHD2 file
only the header and the tables are read; its virtual size is a multiple of 1 GiB, as
a server sees the disk. In the map of a disk, each character is a part of it: the
fuller, the more data it holds.

With --json it prints one object: format, virtual_size, file_size,
stored_blocks, blocks, block_size, compression, uuid, created. Sizes are in
bytes; uuid and created are null for all but ZVHD2. Disk images have more fields:
allocated (bytes outside of holes, by the image's own tables; not for compressed
images), facts (name, value), warnings, and disk, with size, sector_size, table,
disk_id, backup_table, partitions, highest_sector, min_disk_gb, firmware,
firmware_source, hints and problems.`,
		Example: `  fastimage info testdata/disk.raw
  fastimage info --json debian.qcow2
  fastimage info --json disk.zvhd2
  fastimage info --region cn-north-4 obs://images/disk.zvhd2`,
		Args: argCount(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in, err := a.describe(cmd.Context(), &bucket, args[0], &flags)
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(in)
			}
			return a.printInfo(in)
		},
	}
	bucket.add(a, cmd)
	flags.add(cmd)
	topic(cmd, topicOutput, func(fl *pflag.FlagSet) { jsonFlag(fl, &asJSON) })
	return cmd
}

func (a *app) describe(ctx context.Context, bucket *bucketFlags, name string, flags *sourceFlags) (*info, error) {
	if name == "-" {
		return nil, usagef("standard input is not seekable; give a file name")
	}
	src, err := a.openAny(ctx, name, flags, bucket)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	switch {
	case src.Disk != nil:
		in, err := describeDisk(ctx, src.Disk)
		return in, src.unchanged(err)
	case src.Forward != nil:
		packed, err := src.packed()
		if err != nil {
			return nil, err
		}
		in, err := describePacked(ctx, packed)
		return in, src.unchanged(err)
	case src.Sequence != nil:
		return nil, advisef("convert it to RAW first", "%s is ZVHD, which has no tables that describe it", name)
	}
	return describeContainer(src.Container), nil
}

func describeContainer(zr *zvhd2.Reader) *info {
	h := zr.Info()
	id, created := uuid.UUID(h.UUID).String(), h.Created.UTC()
	return &info{
		Format: "zvhd2", VirtualSize: h.VirtualSize, FileSize: h.FileSize,
		StoredBlocks: h.StoredBlocks, Blocks: h.Blocks, BlockSize: h.BlockSize,
		Compression: h.Compression, UUID: &id, Created: &created,
	}
}

func describeDisk(ctx context.Context, d *anyimage.Disk) (*info, error) {
	table, err := d.Inspect(ctx)
	if err != nil {
		return nil, err
	}
	bm, err := bitmap.Scan(ctx, d, d.Size())
	if err != nil {
		return nil, err
	}
	in := diskInfo(table, bm)
	in.Format, in.FileSize, in.Facts = string(d.Format()), d.FileSize(), d.Facts()
	for _, w := range d.Warnings() {
		in.Warnings = append(in.Warnings, w.Message)
	}
	in.Allocated = new(int64)
	for e, err := range d.Extents() {
		if err != nil {
			return nil, err
		}
		*in.Allocated += e.Length
	}
	for _, f := range d.Facts() {
		if strings.HasPrefix(f.Name, "compression") {
			in.Compression = f.Value
		}
	}
	return in, nil
}

// describePacked goes through the disk for its blocks, and again for what the
// partitions hold. One worker: more would send it back and forth.
func describePacked(ctx context.Context, s *anyimage.Stream) (*info, error) {
	bm, err := bitmap.Scan(ctx, s, s.Size(), bitmap.WithWorkers(1))
	if err != nil {
		return nil, err
	}
	table, err := inspect.Inspect(ctx, s, s.Size())
	if err != nil {
		return nil, err
	}
	in := diskInfo(table, bm)
	in.Format, in.FileSize, in.Compression = string(s.Format()), s.FileSize(), string(s.Format())
	return in, nil
}

func diskInfo(table *inspect.Info, bm *bitmap.Bitmap) *info {
	return &info{
		VirtualSize: bm.Size(), StoredBlocks: bm.Count(), Blocks: bm.Blocks(), BlockSize: bm.BlockSize(),
		Compression: "none", Disk: table, data: bm,
	}
}

func (a *app) printInfo(in *info) error {
	_, err := fmt.Fprintf(a.stdout, "format        %s\nvirtual size  %s (%d bytes)\nfile size     %s (%d bytes)\nblocks        %d of %d stored, %s each\ncompression   %s\n",
		in.Format, size(in.VirtualSize), in.VirtualSize, size(in.FileSize), in.FileSize,
		in.StoredBlocks, in.Blocks, size(in.BlockSize), in.Compression)
	if err == nil && in.UUID != nil {
		_, err = fmt.Fprintf(a.stdout, "uuid          %s\ncreated       %s\n", *in.UUID, in.Created.Format(time.RFC3339))
	}
	if err == nil && in.Disk != nil {
		_, err = io.WriteString(a.stdout, oneLineEach(diskLines(in)))
	}
	return err
}

// mapWidth leaves the names of the lines room at 80 columns.
const mapWidth = 60

func diskLines(in *info) []string {
	d := in.Disk
	var lines []string
	if in.Allocated != nil {
		lines = append(lines, fmt.Sprintf("allocated     %s (%d bytes)", size(*in.Allocated), *in.Allocated))
	}
	for _, f := range in.Facts {
		lines = append(lines, fmt.Sprintf("%-13s %s", f.Name, f.Value))
	}
	for _, w := range in.Warnings {
		lines = append(lines, "warning       "+w)
	}
	lines = append(lines, "map           "+in.data.Render(mapWidth),
		"table         "+tableLine(d))
	for _, p := range d.Partitions {
		lines = append(lines, partitionLine(p))
	}
	if d.HighestSector >= 0 {
		lines = append(lines, fmt.Sprintf("last sector   %d in use", d.HighestSector))
	}
	lines = append(lines, fmt.Sprintf("min disk      %dGiB", d.MinDiskGB))
	if d.Firmware != "" {
		lines = append(lines, fmt.Sprintf("firmware      %s (%s)", d.Firmware, d.FirmwareSource))
	}
	for _, h := range d.Hints {
		lines = append(lines, fmt.Sprintf("hint          %s %s (%s)", h.Key, h.Value, h.Source))
	}
	for _, p := range d.Problems {
		lines = append(lines, "problem       "+p.String())
	}
	return lines
}

func tableLine(d *inspect.Info) string {
	line := fmt.Sprintf("%s, sectors of %d bytes", d.Table, d.SectorSize)
	if d.DiskID != "" {
		line += ", id " + d.DiskID
	}
	if d.Table == inspect.TableGPT && !d.BackupTable {
		line += ", no valid copy at the end"
	}
	return line
}

func partitionLine(p inspect.Partition) string {
	line := fmt.Sprintf("partition %-3d %s at %s, %s", p.Number, size(p.Size), size(p.Start), cmp.Or(p.TypeName, p.Type))
	if p.Active {
		line += ", active"
	}
	for _, s := range []string{p.Name, p.Filesystem, p.Label, p.GUID} {
		if s != "" {
			line += ", " + s
		}
	}
	return line
}

// oneLineEach ends each line, whatever names from the disk are in it.
func oneLineEach(lines []string) string {
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(oneLine(l) + "\n")
	}
	return b.String()
}
