package quickimport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/fastimage/fastimage/bitmap"
	"github.com/fastimage/fastimage/internal/pkgerr"
	"github.com/fastimage/fastimage/rawimage"
)

// maxMF bounds a bitmap file that is handed in: 1 TiB in blocks of 4 KiB takes
// 32 MiB as bits, and lists of extents are shorter than that.
const maxMF = 64 << 20

// bitmapFile is a .mf file to upload.
type bitmapFile struct {
	bytes []byte
	data  int64 // bytes of the disk in blocks that hold data
}

// checkMF checks the caller's bitmap file against the disk, before anything is
// sent: one that calls a block empty which holds data would lose that data.
func (im *importer) checkMF(ctx context.Context, v *validation) error {
	if im.opt.bitmapFile == "" {
		return nil
	}
	err := im.makeMF(ctx)
	if lost := (*mfError)(nil); errors.As(err, &lost) {
		v.problem("mf", im.opt.bitmapFile, lost)
		return nil
	}
	return err
}

// mfError is a bitmap file that cannot be used.
type mfError struct{ err error }

func (e *mfError) Error() string { return pkgerr.Text(e.err) }
func (e *mfError) Unwrap() error { return e.err }

// makeMF makes the bitmap file, or reads the caller's, once.
func (im *importer) makeMF(ctx context.Context) error {
	if im.mf != nil {
		return nil
	}
	layout := bitmap.DefaultLayout()
	if im.opt.bitmapLayout != nil {
		layout = *im.opt.bitmapLayout
	}
	disk, err := bitmap.Scan(ctx, im.src.image, im.src.Size(), bitmap.WithBlockSize(layout.BlockSize))
	if err != nil {
		return wrap("source", err)
	}
	mf := &bitmapFile{data: disk.DataBytes()}
	if im.opt.bitmapFile != "" {
		mf.bytes, err = im.checkedMF(disk, layout)
	} else {
		var b bytes.Buffer
		err = disk.Encode(&b, layout)
		mf.bytes = b.Bytes()
	}
	if err == nil {
		im.mf = mf
	}
	return err
}

// checkedMF reads the caller's bitmap file and refuses one that does not cover
// the disk, as far as its layout is known.
func (im *importer) checkedMF(disk *bitmap.Bitmap, layout bitmap.Layout) ([]byte, error) {
	mf, err := readMF(im.opt.bitmapFile)
	if err != nil {
		return nil, err
	}
	given, err := bitmap.Decode(bytes.NewReader(mf), disk.Size(), layout)
	if err != nil && im.opt.bitmapLayout != nil {
		return nil, &mfError{err}
	}
	if err != nil {
		im.warn(WarnBitmap, "%s is not in the default layout, so it cannot be checked against the image (%s)", im.opt.bitmapFile, pkgerr.Text(err))
		return mf, nil
	}
	if err := given.CheckCoverage(disk); err != nil {
		return nil, &mfError{err}
	}
	return mf, nil
}

func readMF(name string) ([]byte, error) {
	f, err := rawimage.Open(name, rawimage.WithAnyFormat()) // which no pipe blocks
	if err != nil {
		return nil, &mfError{err}
	}
	defer f.Close()
	mf, err := io.ReadAll(io.NewSectionReader(f, 0, min(f.Size(), maxMF+1)))
	if err == nil && (len(mf) == 0 || len(mf) > maxMF) {
		err = fmt.Errorf("%d bytes or more, a bitmap file has 1 byte to %d MiB", len(mf), maxMF>>20)
	}
	if err != nil {
		return nil, &mfError{err}
	}
	return mf, nil
}
