package quickimport

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"sync"
	"time"
)

// Credentials authenticate requests: AccessKey and SecretKey (with
// SecurityToken when they are temporary), or Token for the image service.
// OBS knows no tokens, so Import needs the keys.
type Credentials struct {
	AccessKey     string    // "" with a Token alone
	SecretKey     string    // belongs to AccessKey
	SecurityToken string    // of temporary keys, else ""
	Token         string    // X-Auth-Token; used for the image service when set
	ProjectID     string    // optional; [WithProjectID] wins over it
	Expires       time.Time // zero: they do not expire
}

// String names the credentials without any secret.
func (c Credentials) String() string {
	switch {
	case c.Token != "":
		return "token (redacted)"
	case c.AccessKey != "":
		return "access key (redacted)"
	}
	return "no credentials"
}

// Format prints what String does, whatever the verb, so that no log shows a secret.
func (c Credentials) Format(f fmt.State, _ rune) { fmt.Fprint(f, c.String()) }

// MarshalText keeps the secrets out of JSON and of structured logs.
func (c Credentials) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

func (c Credentials) check() error {
	if c.Token == "" && (c.AccessKey == "" || c.SecretKey == "") {
		return ErrNoCredentials
	}
	return nil
}

// A CredentialsProvider gives credentials. What it gives is kept until five
// minutes before it expires, or until the cloud calls it expired, and the
// provider is asked again then; one whose credentials do not expire is asked
// before every request. Safe for concurrent use.
type CredentialsProvider interface {
	Credentials(ctx context.Context) (Credentials, error)
}

// CredentialsFunc is a function as a [CredentialsProvider].
type CredentialsFunc func(ctx context.Context) (Credentials, error)

// Credentials calls f.
func (f CredentialsFunc) Credentials(ctx context.Context) (Credentials, error) { return f(ctx) }

// StaticCredentials always gives c.
func StaticCredentials(c Credentials) CredentialsProvider {
	return CredentialsFunc(func(context.Context) (Credentials, error) { return c, nil })
}

// EnvCredentials reads HUAWEICLOUD_SDK_AK, _SK, _SECURITY_TOKEN and _PROJECT_ID
// (the names of the vendor's SDKs); where both keys are not set there,
// HW_ACCESS_KEY, HW_SECRET_KEY, HW_SECURITY_TOKEN and HW_PROJECT_ID (the names
// of Terraform and Packer). The two sets of keys are never mixed.
func EnvCredentials() CredentialsProvider { return LookupCredentials(os.Getenv) }

// LookupCredentials is [EnvCredentials] with another environment: getenv
// returns the value of a variable, "" if it is not set.
func LookupCredentials(getenv func(string) string) CredentialsProvider {
	return CredentialsFunc(func(context.Context) (Credentials, error) {
		c := Credentials{
			AccessKey:     getenv("HUAWEICLOUD_SDK_AK"),
			SecretKey:     getenv("HUAWEICLOUD_SDK_SK"),
			SecurityToken: getenv("HUAWEICLOUD_SDK_SECURITY_TOKEN"),
		}
		if c.AccessKey == "" || c.SecretKey == "" {
			c = Credentials{
				AccessKey:     getenv("HW_ACCESS_KEY"),
				SecretKey:     getenv("HW_SECRET_KEY"),
				SecurityToken: getenv("HW_SECURITY_TOKEN"),
			}
		}
		c.ProjectID = cmp.Or(getenv("HUAWEICLOUD_SDK_PROJECT_ID"), getenv("HW_PROJECT_ID"))
		return c, c.check()
	})
}

// expiryMargin is how long before their end credentials are replaced: longer
// than any single request takes.
const expiryMargin = 5 * time.Minute

// credentialsCache keeps what its provider gave until near its expiry.
type credentialsCache struct {
	provider CredentialsProvider
	now      func() time.Time

	mu   sync.Mutex         // guards kept; held while the provider is asked, so that it is asked once
	kept func() Credentials // nil: none; a function, which no verb of fmt looks into
}

// Credentials gives what is kept or asks for more. When that fails, what is
// kept does until it has expired.
func (c *credentialsCache) Credentials(ctx context.Context) (Credentials, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var kept Credentials
	if c.kept != nil {
		kept = c.kept()
	}
	left := kept.Expires.Sub(c.now())
	if !kept.Expires.IsZero() && left > expiryMargin {
		return kept, nil
	}
	fresh, err := c.provider.Credentials(ctx)
	if err != nil && !kept.Expires.IsZero() && left > 0 {
		return kept, nil
	}
	if err == nil {
		c.kept = func() Credentials { return fresh }
	}
	return fresh, err
}

// replace asks for credentials in the place of those that the cloud refused,
// and tells whether there are others.
func (c *credentialsCache) replace(ctx context.Context, refused Credentials) bool {
	c.mu.Lock()
	if c.kept != nil && c.kept() == refused {
		c.kept = nil
	}
	c.mu.Unlock()
	fresh, err := c.Credentials(ctx)
	return err == nil && fresh != refused
}
