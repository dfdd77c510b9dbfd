package quickimport

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/fastimage/fastimage/bitmap"
	"github.com/fastimage/fastimage/uploader"
)

// maxMF bounds a bitmap file that is handed in: 1 TiB in blocks of 4 KiB takes
// 32 MiB as bits, and lists of extents are shorter than that.
const maxMF = 64 << 20

// sendRaw uploads the bitmap file and the disk as it is. The bitmap comes
// first: it is made, or checked, before the disk's bytes are sent.
func (im *importer) sendRaw(ctx context.Context, up *uploader.Uploader) error {
	size := im.src.Size()
	mf, data, err := im.bitmapFile(ctx)
	if err != nil {
		return err
	}
	bucket, key := im.img.Bucket, im.img.Key
	put, err := up.UploadReaderAt(ctx, bucket, mfKey(key), bytes.NewReader(mf), int64(len(mf)))
	if err != nil {
		return err
	}
	im.objects = append(im.objects, mfKey(key))
	im.events.read(0, size, size-data)
	sent, err := up.UploadReaderAt(ctx, bucket, key, im.src, size)
	if err != nil {
		return err
	}
	im.objects = append(im.objects, key)
	im.events.read(size, size, size-data)
	im.res.DataBytes, im.res.ObjectBytes, im.res.WireBytes = data, sent.ObjectBytes, sent.WireBytes+put.WireBytes
	return nil
}

// bitmapFile gives the .mf to upload and how many bytes of the disk lie in
// blocks that hold data.
func (im *importer) bitmapFile(ctx context.Context) (mf []byte, data int64, err error) {
	layout := bitmap.DefaultLayout()
	if im.o.mfLayout != nil {
		layout = *im.o.mfLayout
	}
	bm, err := bitmap.Scan(ctx, im.src, im.src.Size(), bitmap.WithBlockSize(layout.BlockSize))
	if err != nil {
		return nil, 0, err
	}
	if im.o.mfFile != "" {
		mf, err = im.checkedMF(ctx, bm, layout)
		return mf, bm.DataBytes(), err
	}
	var b bytes.Buffer
	err = bm.Encode(&b, layout)
	return b.Bytes(), bm.DataBytes(), err
}

// checkedMF reads the caller's bitmap file and refuses one that does not cover
// the disk, as far as its layout is known.
func (im *importer) checkedMF(ctx context.Context, disk *bitmap.Bitmap, layout bitmap.Layout) ([]byte, error) {
	f, err := os.Open(im.o.mfFile)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	mf, err := io.ReadAll(io.LimitReader(f, maxMF+1))
	if err != nil {
		return nil, err
	}
	if len(mf) == 0 || len(mf) > maxMF {
		return nil, fmt.Errorf("%s: a bitmap file has 1 byte to %d MiB", im.o.mfFile, maxMF>>20)
	}
	given, err := bitmap.Decode(bytes.NewReader(mf), disk.Size(), layout)
	if err != nil && im.o.mfLayout != nil {
		return nil, fmt.Errorf("%s: %w", im.o.mfFile, err)
	}
	if err != nil {
		im.o.logger.LogAttrs(ctx, slog.LevelWarn, "the bitmap file is not in the default layout, so its coverage was not checked",
			slog.String("file", im.o.mfFile), slog.String("reason", err.Error()))
		return mf, nil
	}
	if err := given.Covers(disk); err != nil {
		return nil, fmt.Errorf("%s: %w: the image would lose data; make the bitmap file anew, or give its layout if it is not %q", im.o.mfFile, err, layout)
	}
	return mf, nil
}
