package uploader

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// ObjectInfo describes an object.
type ObjectInfo struct {
	Bucket, Key  string
	Size         int64     // bytes
	ETag         string    // without quotes
	Modified     time.Time // zero if unknown
	StorageClass string    // "" where the service does not say: STANDARD
	Encrypted    bool      // the ETag is then no MD5
	ContentType  string    // "" if unknown
	nonce        string    // of the upload that made it, "" if unknown
	version      string    // "" in a bucket without versions
}

// BucketInfo describes a bucket, as far as the service tells.
type BucketInfo struct {
	Bucket       string
	Region       string // "" if unknown
	StorageClass string // "" if unknown
}

// HeadObject describes an object; errors.Is(err, ErrNoSuchKey) if there is none.
func (c *Client) HeadObject(ctx context.Context, bucket, key string) (*ObjectInfo, error) {
	var out *s3.HeadObjectOutput
	err := c.do(ctx, target{op: "HeadObject", bucket: bucket, key: key}, func(ctx context.Context) (err error) {
		out, err = c.api.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: &key})
		return err
	})
	if err != nil {
		return nil, err
	}
	return &ObjectInfo{
		Bucket: bucket, Key: key, Size: aws.ToInt64(out.ContentLength), ETag: trimETag(out.ETag),
		Modified: aws.ToTime(out.LastModified), StorageClass: string(out.StorageClass),
		Encrypted: out.ServerSideEncryption != "", ContentType: aws.ToString(out.ContentType),
		nonce: out.Metadata[nonceKey], version: aws.ToString(out.VersionId),
	}, nil
}

// DeleteObject removes an object; in a bucket with versions they stay. One that
// is not there is no error.
func (c *Client) DeleteObject(ctx context.Context, bucket, key string) error {
	return c.deleteVersion(ctx, bucket, key, "")
}

// deleteVersion removes one version of an object for good, or does what
// DeleteObject does where there are no versions or the keys may not remove them.
func (c *Client) deleteVersion(ctx context.Context, bucket, key, version string) error {
	in := &s3.DeleteObjectInput{Bucket: &bucket, Key: &key}
	if version != "" {
		in.VersionId = &version
	}
	err := c.do(ctx, target{op: "DeleteObject", bucket: bucket, key: key}, func(ctx context.Context) error {
		_, err := c.api.DeleteObject(ctx, in)
		return err
	})
	switch {
	case errors.Is(err, ErrNoSuchKey):
		return nil
	case version != "" && errors.Is(err, ErrAccessDenied):
		return c.deleteVersion(ctx, bucket, key, "")
	}
	return err
}

// Now returns the service's time: this machine's until the first answer.
func (c *Client) Now() time.Time { return c.clock.Now() }

// HeadBucket reports whether the bucket exists and what the service tells about
// it in one request.
func (c *Client) HeadBucket(ctx context.Context, bucket string) (*BucketInfo, error) {
	info, _, err := c.headBucket(ctx, bucket)
	return info, err
}

func (c *Client) headBucket(ctx context.Context, bucket string) (info *BucketInfo, request string, err error) {
	if err := checkBucket(bucket); err != nil {
		return nil, "", err
	}
	info = &BucketInfo{Bucket: bucket}
	err = c.do(ctx, target{op: "HeadBucket", bucket: bucket}, func(ctx context.Context) error {
		out, err := c.api.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &bucket})
		if err != nil {
			return err
		}
		info.Region = aws.ToString(out.BucketRegion)
		h := rawHeader(out.ResultMetadata)
		request = requestID(h)
		for _, name := range []string{"X-Obs-Storage-Class", "X-Amz-Storage-Class", "X-Default-Storage-Class"} {
			if info.StorageClass == "" {
				info.StorageClass = strings.ToUpper(h.Get(name))
			}
		}
		if info.Region == "" {
			info.Region = h.Get("X-Obs-Bucket-Location")
		}
		return nil
	})
	if err != nil {
		return nil, "", c.whyBad(ctx, bucket, err)
	}
	return info, request, nil
}

// rawHeader returns the answer's header, for fields the SDK does not know.
func rawHeader(md middleware.Metadata) http.Header {
	if resp, ok := awsmiddleware.GetRawResponse(md).(*smithyhttp.Response); ok && resp.Response != nil {
		return resp.Header
	}
	return http.Header{}
}

// BucketLocation returns the region of a bucket, "" if the service does not say.
func (c *Client) BucketLocation(ctx context.Context, bucket string) (string, error) {
	if err := checkBucket(bucket); err != nil {
		return "", err
	}
	var loc string
	err := c.do(ctx, target{op: "GetBucketLocation", bucket: bucket}, func(ctx context.Context) error {
		out, err := c.api.GetBucketLocation(ctx, &s3.GetBucketLocationInput{Bucket: &bucket})
		if err == nil {
			loc = string(out.LocationConstraint)
		}
		return err
	})
	return loc, err
}

// CheckBucket finds out before anything is sent whether the bucket exists, is
// in the client's region and, if class is not "", has that storage class. What
// the service does not tell, or the rights do not allow to ask, is let pass.
func (c *Client) CheckBucket(ctx context.Context, bucket, class string) (*BucketInfo, error) {
	info, request, err := c.headBucket(ctx, bucket)
	if errors.Is(err, ErrAccessDenied) {
		return &BucketInfo{Bucket: bucket}, nil
	}
	if err != nil {
		return nil, err
	}
	e := &Error{Op: "HeadBucket", Bucket: bucket, StatusCode: http.StatusOK, RequestID: request}
	if info.Region != "" && !strings.EqualFold(info.Region, c.region) {
		e.Err = &markedError{ErrWrongRegion, fmt.Errorf("it is in %s, not in %s", clip(info.Region), c.region)}
		return nil, e
	}
	if class != "" && info.StorageClass != "" && !strings.EqualFold(info.StorageClass, class) {
		e.Err = &markedError{ErrStorageClass, fmt.Errorf("%s, not %s", clip(info.StorageClass), class)}
		return nil, e
	}
	return info, nil
}

// whyBad asks once more where HeadBucket was answered with a bare 400: the answer
// to HEAD has no body, that to GetBucketLocation says what was wrong with both,
// the region that they were signed for, say.
func (c *Client) whyBad(ctx context.Context, bucket string, err error) error {
	var head, loc *Error
	if !errors.As(err, &head) || head.StatusCode != http.StatusBadRequest {
		return err
	}
	_, lerr := c.BucketLocation(ctx, bucket)
	if errors.As(lerr, &loc) && codeSentinels[loc.Code] != nil && !errors.Is(lerr, ErrAccessDenied) {
		return lerr
	}
	return err
}

// Objects lists the objects whose key begins with prefix. It can be ranged
// over again; an error comes at most once and last.
func (c *Client) Objects(ctx context.Context, bucket, prefix string) iter.Seq2[ObjectInfo, error] {
	return func(yield func(ObjectInfo, error) bool) {
		var marker *string
		for {
			out, err := c.listPage(ctx, bucket, prefix, marker)
			if err != nil {
				yield(ObjectInfo{}, err)
				return
			}
			if n := len(out.Contents); n > 0 && aws.ToString(out.Contents[n-1].Key) <= aws.ToString(marker) {
				yield(ObjectInfo{}, badAnswer("ListObjects", bucket, "", "the listing does not advance"))
				return
			}
			for _, o := range out.Contents {
				marker = o.Key
				if !yield(ObjectInfo{
					Bucket: bucket, Key: aws.ToString(o.Key), Size: aws.ToInt64(o.Size), ETag: trimETag(o.ETag),
					Modified: aws.ToTime(o.LastModified), StorageClass: string(o.StorageClass),
				}, nil) {
					return
				}
			}
			// Version 1 of the listing gives NextMarker with a delimiter only:
			// the last key continues it.
			if !aws.ToBool(out.IsTruncated) || len(out.Contents) == 0 {
				return
			}
		}
	}
}

func (c *Client) listPage(ctx context.Context, bucket, prefix string, marker *string) (out *s3.ListObjectsOutput, err error) {
	err = c.do(ctx, target{op: "ListObjects", bucket: bucket}, func(ctx context.Context) error {
		out, err = c.api.ListObjects(ctx, &s3.ListObjectsInput{Bucket: &bucket, Prefix: &prefix, Marker: marker})
		return err
	})
	return out, err
}
