package quickimport

import (
	"context"
	"errors"
	"fmt"

	"github.com/fastimage/fastimage/rawimage"
	"github.com/fastimage/fastimage/rawimage/anyimage"
	"github.com/fastimage/fastimage/uploader"
)

// Create makes a private image of an object that lies in a bucket already:
// Import without the upload. Its first bytes and its tables are looked at
// before the service is asked; MinDisk is computed from them when it is 0. The
// object is never removed.
func (c *Client) Create(ctx context.Context, img Image, opts ...ImportOption) (*Result, error) {
	return c.run(ctx, opts, func(ctx context.Context, im *importer) (func() error, error) {
		err := im.opt.only("Create, which uploads nothing", "WithEvents", "WithWait", "WithAwaitActive", "WithResubmit", "WithForce", "WithGuestCheck")
		if err == nil {
			err = im.opt.check(c.o.store != nil)
		}
		if err != nil {
			return nil, err
		}
		if im.src, err = c.openTarget(ctx, img); err != nil {
			return nil, err
		}
		im.object, im.format = true, formatOf(im.src)
		return im.open(ctx, img)
	})
}

// openTarget opens the object that img names.
func (c *Client) openTarget(ctx context.Context, img Image) (*Content, error) {
	name := img.Bucket + ":" + img.Key
	if uploader.CheckName(img.Bucket, img.Key) != nil {
		return nil, refused("object", name, img, nil) // one of the rules that img breaks
	}
	src, err := openContent(ctx, c, targetObject{img.Bucket, img.Key}, nil)
	if err == nil {
		return src, nil
	}
	field := "object"
	if errors.Is(err, uploader.ErrNoSuchKey) { // the answer to HEAD does not tell what is missing
		if _, berr := c.obs.HeadBucket(ctx, img.Bucket); errors.Is(berr, uploader.ErrNoSuchBucket) {
			field, name, err = "bucket", img.Bucket, berr
		}
	}
	if err != nil && !definite(err) {
		return nil, wrap("object", err)
	}
	return nil, refused(field, name, img, err)
}

// targetObject is an object that an image is made of. It opens only what fast
// creation takes: other formats would be other bytes than the disk's.
type targetObject struct{ bucket, key string }

func (t targetObject) Name() string { return t.bucket + ":" + t.key }

func (t targetObject) Open(ctx context.Context, c *Client) (*Input, error) {
	object, err := c.obs.OpenObject(ctx, t.bucket, t.key)
	if err != nil {
		return nil, err
	}
	format, err := detectObject(object)
	if err == nil && format != rawimage.FormatRaw && format != rawimage.FormatZVHD2 {
		err = &formatError{&rawimage.ForeignFormatError{Name: t.Name(), Format: format}}
	}
	if err != nil {
		return nil, errors.Join(err, object.Close())
	}
	info := object.Info()
	return &Input{
		ReaderAt: object, Size: info.Size, Close: object.Close,
		Identity: fmt.Sprintf("obs://%s/%s %s %d", t.bucket, t.key, info.ETag, info.Modified.Unix()),
	}, nil
}

func detectObject(object *uploader.Object) (rawimage.Format, error) {
	file, err := rawimage.New(object, object.Size(), rawimage.WithAnyFormat())
	if err != nil {
		return "", err
	}
	return anyimage.Detect(file)
}

// formatOf is the format of an object.
func formatOf(s *Content) Format {
	if s.Container != nil {
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
	im.plan.ObjectBytesMax, im.res.ObjectBytes = im.src.FileSize(), im.src.FileSize()
	if object, ok := im.src.in.ReaderAt.(*uploader.Object); ok {
		im.res.ETag = object.Info().ETag
	}
	if c := im.src.Container; c != nil {
		im.res.DataBytes = min(c.Info().StoredBlocks*c.Info().BlockSize, im.src.Size())
	}
	for i, key := range keys {
		info, err := im.obs.HeadObject(ctx, im.img.Bucket, key)
		switch {
		case errors.Is(err, uploader.ErrNoSuchKey) && i > 0, err == nil && i > 0 && info.Size == 0:
			v.check(false, "mf", key, "IMG.0158", ReasonMissing, "is missing or empty: a RAW object needs a bitmap file beside it")
		case err != nil && !definite(err):
			return wrap("object", err)
		case err != nil:
			v.problem("object", key, err)
		default:
			v.check(info.StorageClass == "" || info.StorageClass == standardClass, "object", key, "IMG.0057", ReasonStorageClass, "has the storage class "+info.StorageClass+", not STANDARD")
		}
	}
	return nil
}
