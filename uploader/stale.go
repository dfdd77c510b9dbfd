package uploader

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Upload is an unfinished multipart upload.
type Upload struct {
	Bucket, Key, UploadID string
	Initiated             time.Time
}

// maxPages bounds a listing of uploads, which is a thousand a page.
const maxPages = 1000

// Stale lists the unfinished uploads of keys with that prefix that began before
// a time (the zero time: all of them). It can be ranged over again; an error
// comes at most once and last.
func (c *Client) Stale(ctx context.Context, bucket, prefix string, before time.Time) iter.Seq2[Upload, error] {
	return func(yield func(Upload, error) bool) {
		var keyMarker, idMarker *string
		for range maxPages {
			out, err := c.listUploads(ctx, bucket, prefix, keyMarker, idMarker)
			if err != nil {
				yield(Upload{}, err)
				return
			}
			for _, u := range out.Uploads {
				x := Upload{bucket, aws.ToString(u.Key), aws.ToString(u.UploadId), aws.ToTime(u.Initiated)}
				// The time is this machine's, Initiated the service's.
				if !before.IsZero() && !x.Initiated.Before(before.Add(c.clock.Ahead())) {
					continue
				}
				if !yield(x, nil) {
					return
				}
			}
			key, id := aws.ToString(out.NextKeyMarker), aws.ToString(out.NextUploadIdMarker)
			if !aws.ToBool(out.IsTruncated) || key == "" {
				return
			}
			if key == aws.ToString(keyMarker) && id == aws.ToString(idMarker) {
				break
			}
			keyMarker, idMarker = &key, &id
		}
		yield(Upload{}, badAnswer("ListMultipartUploads", bucket, "", "the listing does not end"))
	}
}

func (c *Client) listUploads(ctx context.Context, bucket, prefix string, key, id *string) (out *s3.ListMultipartUploadsOutput, err error) {
	err = c.do(ctx, target{op: "ListMultipartUploads", bucket: bucket}, func(ctx context.Context) error {
		out, err = c.api.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{
			Bucket: &bucket, Prefix: &prefix, KeyMarker: key, UploadIdMarker: id,
		})
		return err
	})
	return out, err
}

// AbortStale ends the uploads that Stale lists and returns those it ended, and
// all errors joined.
func (c *Client) AbortStale(ctx context.Context, bucket, prefix string, before time.Time) ([]Upload, error) {
	var all, ended []Upload
	for u, err := range c.Stale(ctx, bucket, prefix, before) {
		if err != nil {
			return nil, err
		}
		all = append(all, u)
	}
	var errs []error
	for _, u := range all {
		if err := c.AbortUpload(ctx, u.Bucket, u.Key, u.UploadID); err != nil {
			errs = append(errs, err)
			continue
		}
		ended = append(ended, u)
	}
	return ended, errors.Join(errs...)
}

// AbortUpload ends one multipart upload and removes its parts. One that is gone
// is no error.
func (c *Client) AbortUpload(ctx context.Context, bucket, key, id string) error {
	err := c.do(ctx, target{op: "AbortMultipartUpload", bucket: bucket, key: key}, func(ctx context.Context) error {
		_, err := c.api.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &bucket, Key: &key, UploadId: &id})
		return err
	})
	if errors.Is(err, ErrNoSuchUpload) || errors.Is(err, ErrNoSuchKey) {
		return nil
	}
	return err
}

// remotePart is a part that the service has.
type remotePart struct {
	etag string
	size int64
}

// listParts returns the parts of an upload by number.
func (c *Client) listParts(ctx context.Context, bucket, key, id string) (map[int32]remotePart, error) {
	parts := map[int32]remotePart{}
	var marker *string
	last := 0
	for {
		var out *s3.ListPartsOutput
		err := c.do(ctx, target{op: "ListParts", bucket: bucket, key: key}, func(ctx context.Context) (err error) {
			out, err = c.api.ListParts(ctx, &s3.ListPartsInput{
				Bucket: &bucket, Key: &key, UploadId: &id, PartNumberMarker: marker,
			})
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, p := range out.Parts {
			if n := aws.ToInt32(p.PartNumber); n >= 1 && n <= MaxParts {
				parts[n] = remotePart{trimETag(p.ETag), aws.ToInt64(p.Size)}
			}
		}
		if !aws.ToBool(out.IsTruncated) {
			return parts, nil
		}
		marker = out.NextPartNumberMarker
		next, err := strconv.Atoi(aws.ToString(marker))
		if err != nil || next <= last || next > MaxParts {
			return nil, badAnswer("ListParts", bucket, key, fmt.Sprintf("the listing goes on at %q after %d", clip(aws.ToString(marker)), last))
		}
		last = next
	}
}
