package uploader

import (
	"context"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	// The project uses manager by decision: its successor transfermanager is pre-1.0, has no resume and sends trailing checksums that cannot be turned off (aws-sdk-go-v2 issue 3556). It stays in this file, behind our own API client.
	"github.com/aws/aws-sdk-go-v2/feature/s3/manager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// managed splits body into parts and hands them to the session, which is the
// manager's API client: the manager cuts and orders, the session does the rest
// (digests, retries, resume, zeros).
func managed(ctx context.Context, s *session, body io.Reader) error {
	//lint:ignore SA1019 see the import
	up := manager.NewUploader(s, func(u *manager.Uploader) {
		u.PartSize = s.partSize
		u.Concurrency = s.opt.concurrency
		u.MaxUploadParts = MaxParts
		// Clean-up is ours: the manager would abort with the cancelled context.
		u.LeavePartsOnError = true
		u.BufferProvider = nil
		// Its default asks for CRC32 when the upload is created.
		u.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
	})
	//lint:ignore SA1019 see the import
	_, err := up.Upload(ctx, &s3.PutObjectInput{
		Bucket: &s.bucket, Key: &s.key, Body: body, ContentType: aws.String(s.opt.contentType),
	})
	return err
}

var _ manager.UploadAPIClient = (*session)(nil)
