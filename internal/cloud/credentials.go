package cloud

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net/url"
	"strings"
	"time"
)

// Credentials authenticate requests: AccessKey and SecretKey (with
// SecurityToken when they are temporary), or Token for services that take one.
// Object storage takes no tokens.
type Credentials struct {
	AccessKey     string    // "" with a Token alone
	SecretKey     string    // belongs to AccessKey
	SecurityToken string    // of temporary keys, else ""
	Token         string    // X-Auth-Token, used in place of the keys where a service takes it
	ProjectID     string    // optional
	Expires       time.Time // zero: they do not expire
}

// HasKeys reports whether both keys are set.
func (c Credentials) HasKeys() bool { return c.AccessKey != "" && c.SecretKey != "" }

// String describes the credentials without any secret.
func (c Credentials) String() string {
	switch {
	case c.Token != "":
		return "token (redacted)"
	case c.AccessKey != "" || c.SecretKey != "" || c.SecurityToken != "":
		return "access key (redacted)"
	}
	return "no credentials"
}

// Format prints what String returns, whatever the verb.
func (c Credentials) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// MarshalText keeps the secrets out of JSON.
func (c Credentials) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// LogValue keeps the secrets out of structured logs.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Redact replaces the secrets in a text that a server returned, in the forms in
// which one may echo them. Cut the text after Redact, not before: part of a
// secret is not recognized.
func (c Credentials) Redact(text string) string {
	for _, secret := range []string{c.SecretKey, c.SecurityToken, c.Token} {
		if secret == "" {
			continue
		}
		quoted, _ := json.Marshal(secret) // a string cannot fail
		for _, form := range []string{
			secret, url.QueryEscape(secret), url.PathEscape(secret), html.EscapeString(secret), string(quoted[1 : len(quoted)-1]),
		} {
			text = strings.ReplaceAll(text, form, "(redacted)")
		}
	}
	return text
}

// A Provider returns credentials. It must be safe for concurrent use.
type Provider interface {
	Credentials(ctx context.Context) (Credentials, error)
}

// CredentialsFunc is a function as a Provider.
type CredentialsFunc func(ctx context.Context) (Credentials, error)

// Credentials calls f.
func (f CredentialsFunc) Credentials(ctx context.Context) (Credentials, error) { return f(ctx) }

// Static always returns c.
func Static(c Credentials) Provider {
	return CredentialsFunc(func(context.Context) (Credentials, error) { return c, nil })
}

// FromEnv reads HUAWEICLOUD_SDK_AK, _SK, _SECURITY_TOKEN and _PROJECT_ID (the
// names of the vendor's SDKs); if either key is missing there, HW_ACCESS_KEY,
// HW_SECRET_KEY, HW_SECURITY_TOKEN and HW_PROJECT_ID (the names of Terraform and
// Packer). The two sets of keys are never mixed. Without keys the result has
// none, and no error.
func FromEnv(getenv func(string) string) Credentials {
	c := Credentials{
		AccessKey:     getenv("HUAWEICLOUD_SDK_AK"),
		SecretKey:     getenv("HUAWEICLOUD_SDK_SK"),
		SecurityToken: getenv("HUAWEICLOUD_SDK_SECURITY_TOKEN"),
	}
	if !c.HasKeys() {
		c = Credentials{
			AccessKey:     getenv("HW_ACCESS_KEY"),
			SecretKey:     getenv("HW_SECRET_KEY"),
			SecurityToken: getenv("HW_SECURITY_TOKEN"),
		}
	}
	c.ProjectID = cmp.Or(getenv("HUAWEICLOUD_SDK_PROJECT_ID"), getenv("HW_PROJECT_ID"))
	return c
}
