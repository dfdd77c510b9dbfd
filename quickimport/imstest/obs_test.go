package imstest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/quickimport/imstest"
)

func status(err error) int {
	var re *awshttp.ResponseError
	if errors.As(err, &re) {
		return re.HTTPStatusCode()
	}
	return 0
}

type bucketClient struct {
	t *testing.T
	c *s3.Client
	b *string
}

func bucketOf(t *testing.T, s *imstest.Server) bucketClient {
	return bucketClient{t, client(s, true), aws.String(s.Bucket())}
}

func (b bucketClient) put(key, body string) *s3.PutObjectOutput {
	b.t.Helper()
	out, err := b.c.PutObject(context.Background(), &s3.PutObjectInput{Bucket: b.b, Key: &key, Body: strings.NewReader(body),
		Metadata: map[string]string{"nonce": "n1"}})
	require.NoError(b.t, err)
	return out
}

func (b bucketClient) head(key string) (*s3.HeadObjectOutput, error) {
	return b.c.HeadObject(context.Background(), &s3.HeadObjectInput{Bucket: b.b, Key: &key})
}

func TestRanges(t *testing.T) {
	t.Parallel()
	s := imstest.NewServer(t)
	b := bucketOf(t, s)
	b.put("k", "0123456789")
	b.put("empty", "")
	for spec, want := range map[string]string{"bytes=2-4": "234", "bytes=7-": "789", "bytes=-3": "789", "bytes=5-99": "56789",
		"bytes=-99": "0123456789", "bytes=4-2": "0123456789", "bytes=x": "0123456789", "bytes=0-1,3-4": "0123456789"} {
		out, err := b.c.GetObject(context.Background(), &s3.GetObjectInput{Bucket: b.b, Key: aws.String("k"), Range: &spec})
		require.NoError(t, err, spec)
		got, err := io.ReadAll(out.Body)
		require.NoError(t, err, spec)
		require.Equal(t, want, string(got), spec)
		require.Equal(t, "n1", out.Metadata["nonce"])
	}
	for _, spec := range []string{"bytes=10-", "bytes=-0", "bytes=99999999999-"} {
		_, err := b.c.GetObject(context.Background(), &s3.GetObjectInput{Bucket: b.b, Key: aws.String("k"), Range: &spec})
		require.Equal(t, "InvalidRange", code(err), spec)
	}
	h, err := b.head("empty")
	require.NoError(t, err)
	require.Zero(t, *h.ContentLength)
	require.Equal(t, map[string]string{"nonce": "n1"}, s.Objects(s.Bucket())[0].Metadata)
}

func TestListing(t *testing.T) {
	t.Parallel()
	s := imstest.NewServer(t)
	b := bucketOf(t, s)
	for _, k := range []string{"a", "d/1", "d/2", "e/1", "f"} {
		b.put(k, "x")
	}
	in := &s3.ListObjectsInput{Bucket: b.b, Delimiter: aws.String("/"), MaxKeys: aws.Int32(2)}
	var got []string
	for {
		out, err := b.c.ListObjects(context.Background(), in)
		require.NoError(t, err)
		for _, o := range out.Contents {
			got = append(got, *o.Key)
		}
		for _, p := range out.CommonPrefixes {
			got = append(got, *p.Prefix)
		}
		if !*out.IsTruncated {
			break
		}
		in.Marker = out.NextMarker
	}
	require.ElementsMatch(t, []string{"a", "d/", "e/", "f"}, got)
	out, err := b.c.ListObjects(context.Background(), &s3.ListObjectsInput{Bucket: b.b, Prefix: aws.String("d/"), Marker: aws.String("d/1")})
	require.NoError(t, err)
	require.Len(t, out.Contents, 1)
	require.Nil(t, out.NextMarker)
	_, err = b.c.ListObjectsV2(context.Background(), &s3.ListObjectsV2Input{Bucket: b.b})
	require.Equal(t, "NotImplemented", code(err))
}

func TestVersions(t *testing.T) {
	t.Parallel()
	dir, ctx := t.TempDir(), context.Background()
	s, err := imstest.New(imstest.WithDir(dir), imstest.WithVariants(imstest.Versioned))
	require.NoError(t, err)
	b := bucketOf(t, s)
	key := aws.String("k")
	first, second := b.put("k", "one"), b.put("k", "two")
	require.NotEqual(t, *first.VersionId, *second.VersionId)
	del, err := b.c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: b.b, Key: key})
	require.NoError(t, err)
	require.True(t, *del.DeleteMarker)
	require.NoError(t, s.Close())

	s = imstest.NewServer(t, imstest.WithDir(dir), imstest.WithVariants(imstest.Versioned))
	b = bucketOf(t, s)
	_, err = b.head("k")
	require.Equal(t, 404, status(err))
	require.Empty(t, s.Objects(s.Bucket()))
	require.Len(t, s.Versions(s.Bucket(), "k"), 3)
	old, err := b.c.GetObject(ctx, &s3.GetObjectInput{Bucket: b.b, Key: key, VersionId: first.VersionId})
	require.NoError(t, err)
	got, err := io.ReadAll(old.Body)
	require.NoError(t, err)
	require.Equal(t, "one", string(got))
	for _, v := range s.Versions(s.Bucket(), "k") {
		_, err = b.c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: b.b, Key: key, VersionId: &v.VersionID})
		require.NoError(t, err)
	}
	require.Empty(t, s.Versions(s.Bucket(), "k"))
}

func TestEncryption(t *testing.T) {
	t.Parallel()
	sum := "900150983cd24fb0d6963f7d28e17f72" // MD5 of abc
	for v, want := range map[imstest.Variant]types.ServerSideEncryption{
		imstest.Encrypted: types.ServerSideEncryptionAwsKms, imstest.EncryptedS3: types.ServerSideEncryptionAes256} {
		s := imstest.NewServer(t, imstest.WithVariants(v))
		b := bucketOf(t, s)
		put := b.put("k", "abc")
		require.Equal(t, want, put.ServerSideEncryption)
		require.Equal(t, v == imstest.EncryptedS3, strings.Contains(*put.ETag, sum))
		rule, err := b.c.GetBucketEncryption(context.Background(), &s3.GetBucketEncryptionInput{Bucket: b.b})
		require.NoError(t, err)
		require.Equal(t, want, rule.ServerSideEncryptionConfiguration.Rules[0].ApplyServerSideEncryptionByDefault.SSEAlgorithm)
	}
}

func TestFaultsOfTheStore(t *testing.T) {
	t.Parallel()
	s := imstest.NewServer(t)
	b := bucketOf(t, s)
	ctx := context.Background()
	fail(t, s, "head-object:403,after=put-object")
	require.NoError(t, s.PutObject(s.Bucket(), "k", strings.NewReader("abc")))
	_, err := b.head("k")
	require.NoError(t, err, "not before a PUT succeeded")
	b.put("k", "abc")
	_, err = b.head("k")
	require.Equal(t, 403, status(err))
	h, err := b.head("k")
	require.NoError(t, err)
	plain := *h.ETag
	for quirk, want := range map[string]string{"weak-etag": "W/" + plain, "upper-etag": strings.ToUpper(plain),
		"bare-etag": strings.Trim(plain, `"`), "no-etag": ""} {
		fail(t, s, "head-object:"+quirk)
		h, err := b.head("k")
		require.NoError(t, err)
		require.Equal(t, want, aws.ToString(h.ETag), quirk)
	}
	fail(t, s, "put-object:rival")
	put := b.put("k", "abc")
	h, err = b.head("k")
	require.NoError(t, err)
	require.EqualValues(t, 3, *h.ContentLength)
	require.NotEqual(t, *put.ETag, *h.ETag)
	fail(t, s, "obs:403,not-path=/k:all")
	_, err = b.head("k")
	require.NoError(t, err)
	_, err = b.c.PutObject(ctx, &s3.PutObjectInput{Bucket: b.b, Key: aws.String("zero"), Body: strings.NewReader("x")})
	require.Equal(t, "AccessDenied", code(err))
	_, err = b.c.CopyObject(ctx, &s3.CopyObjectInput{Bucket: b.b, Key: aws.String("k"), CopySource: aws.String("images/k")})
	require.Equal(t, "NotImplemented", code(err))
	require.Equal(t, imstest.OpHeadObject, s.Requests()[0].Op)
}

// An unescaped + in x-amz-copy-source is a space.
func TestCopySourceIsDecoded(t *testing.T) {
	t.Parallel()
	s := imstest.NewServer(t)
	b := bucketOf(t, s)
	ctx, key := context.Background(), aws.String("k")
	b.put("a+b", "abc")
	up, err := b.c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: b.b, Key: key})
	require.NoError(t, err)
	for src, want := range map[string]string{"images/a+b": "NoSuchKey", "images/a%2Bb": ""} {
		_, err = b.c.UploadPartCopy(ctx, &s3.UploadPartCopyInput{Bucket: b.b, Key: key, UploadId: up.UploadId,
			PartNumber: aws.Int32(1), CopySource: &src})
		if want == "" {
			require.NoError(t, err)
			continue
		}
		require.Equal(t, want, code(err))
	}
}

// Parts are completed by the ETags that the client was given, quirks included.
func TestCompleteWithQuirkyETags(t *testing.T) {
	t.Parallel()
	s := imstest.NewServer(t)
	b := bucketOf(t, s)
	ctx, key := context.Background(), aws.String("k")
	fail(t, s, "obs:opaque-etag,weak-etag:all")
	up, err := b.c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: b.b, Key: key})
	require.NoError(t, err)
	p, err := b.c.UploadPart(ctx, &s3.UploadPartInput{Bucket: b.b, Key: key, UploadId: up.UploadId, PartNumber: aws.Int32(1),
		Body: bytes.NewReader([]byte("abc"))})
	require.NoError(t, err)
	out, err := b.c.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: b.b, Key: key, UploadId: up.UploadId,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{PartNumber: aws.Int32(1), ETag: p.ETag}}}})
	require.NoError(t, err)
	require.NotContains(t, *out.ETag, "-1")
}

func TestRotatedKeys(t *testing.T) {
	t.Parallel()
	s := imstest.NewServer(t)
	old := bucketOf(t, s)
	old.put("k", "abc")
	s.SetCredentials("NEWKEY", "newsecret", "session")
	_, err := old.head("k")
	require.Equal(t, 403, status(err))
	_, err = bucketOf(t, s).head("k")
	require.NoError(t, err)
}

func TestHandlerAndClient(t *testing.T) {
	t.Parallel()
	s := imstest.NewServer(t)
	ts := httptest.NewTLSServer(s.Handler())
	defer ts.Close()
	get := func(c *http.Client, url string) int {
		r, err := http.NewRequest("GET", url, nil)
		require.NoError(t, err)
		r.Header.Set("X-Auth-Token", s.Token())
		res, err := c.Do(r)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		return res.StatusCode
	}
	require.Equal(t, 200, get(ts.Client(), ts.URL+"/v2/cloudimages"))
	require.Equal(t, 200, get(ts.Client(), ts.URL+"/v3/projects"))
	require.Equal(t, 200, get(s.Client(), "http://ims.r.example.com/v2/cloudimages"))
	require.Equal(t, 200, get(s.Client(), "http://iam.r.example.com/v3/projects"))
	require.Equal(t, 403, get(s.Client(), "http://images.obs.r.example.com/k"), "the store wants a signature")
	require.Equal(t, 200, get(s.Client(), s.IMSEndpoint()+"/v2/cloudimages"))
	require.Equal(t, imstest.OBS, s.Requests()[4].Service)
}

func TestDirectoryIsLocked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := imstest.New(imstest.WithDir(dir))
	require.NoError(t, err)
	_, err = imstest.New(imstest.WithDir(dir))
	require.ErrorIs(t, err, imstest.ErrInUse)
	require.ErrorContains(t, err, "process")
	require.NoError(t, s.Close())
	imstest.NewServer(t, imstest.WithDir(dir))
}

// What a request makes the server remember is bounded.
func TestRequestsAreBounded(t *testing.T) {
	t.Parallel()
	s := imstest.NewServer(t)
	body := strings.Repeat("x", 1<<20)
	for range 80 {
		require.Equal(t, 400, send(s, "POST", action, body).status)
	}
	require.Less(t, len(s.Requests()), 80)
	require.NotEmpty(t, s.Requests())
}
