package quickimport

import (
	"context"
	"errors"

	"github.com/fastimage/fastimage/rawimage"
	"github.com/fastimage/fastimage/uploader"
)

// Create makes a private image of an object that lies in a bucket already:
// Import without the upload. Its first bytes and its tables are looked at
// before the service is asked; MinDisk is computed from them when it is 0. The
// object is never removed.
func (c *Client) Create(ctx context.Context, img Image) (*Result, error) {
	src, err := c.openTarget(ctx, img)
	if err != nil {
		return nil, err
	}
	im, release, err := c.open(ctx, &importer{Client: c, src: src, object: true, format: formatOf(src)}, img)
	if err != nil {
		return nil, err
	}
	return im.finish(ctx, release)
}

// openTarget opens the object that img names.
func (c *Client) openTarget(ctx context.Context, img Image) (*source, error) {
	name := img.Bucket + ":" + img.Key
	if uploader.CheckName(img.Bucket, img.Key) != nil {
		return nil, refused("object", name, img, nil) // one of the rules that img breaks
	}
	src, err := openObject(ctx, c.obs, img.Bucket, img.Key)
	if err == nil {
		return src, nil
	}
	field := "object"
	if errors.Is(err, uploader.ErrNoSuchKey) { // the answer to HEAD does not tell what is missing
		if _, berr := c.obs.HeadBucket(ctx, img.Bucket); errors.Is(berr, uploader.ErrNoSuchBucket) {
			field, name, err = "bucket", img.Bucket, berr
		}
	}
	if foreign, ok := errors.AsType[*rawimage.ForeignFormatError](err); ok {
		err = &formatError{foreign}
	} else if !definite(err) {
		return nil, wrap("object", err)
	}
	return nil, refused(field, name, img, err)
}

// formatOf is the format of an object.
func formatOf(s *source) Format {
	if s.container != nil {
		return FormatZVHD2
	}
	return FormatRaw
}

// formatError is an object in a format that fast creation does not take.
type formatError struct{ foreign *rawimage.ForeignFormatError }

func (e *formatError) Error() string {
	return "is " + e.foreign.Format.Description() + ": fast image creation takes ZVHD2, or RAW with a bitmap file beside it"
}
func (e *formatError) Unwrap() error { return e.foreign }

// checkObject checks what a RAW object needs beside it, and storage classes.
func (im *importer) checkObject(ctx context.Context, v *validation) error {
	keys := im.keys()
	im.plan.ObjectBytesMax = im.src.fileSize
	im.res.ObjectBytes, im.res.ETag = im.src.fileSize, im.src.id.ETag
	if c := im.src.container; c != nil {
		im.res.DataBytes = min(c.Info().StoredBlocks*c.Info().BlockSize, im.src.size)
	}
	for i, key := range keys {
		info, err := im.obs.HeadObject(ctx, im.img.Bucket, key)
		switch {
		case errors.Is(err, uploader.ErrNoSuchKey) && i > 0, err == nil && i > 0 && info.Size == 0:
			v.check(false, "mf", key, "IMG.0158", "is missing or empty: a RAW object needs a bitmap file beside it", "make one with 'fastimage bitmap' and upload it under this key")
		case err != nil && !definite(err):
			return wrap("object", err)
		case err != nil:
			v.problem("object", key, err)
		default:
			v.check(info.StorageClass == "" || info.StorageClass == standardClass, "object", key, "IMG.0057", "has the storage class "+info.StorageClass+", not STANDARD", "change it, or upload the object again")
		}
	}
	return nil
}
