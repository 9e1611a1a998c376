package wingbeat

import (
	"context"
	"crypto/tls"
	"net/http"

	"github.com/flyteorg/flyte/flyteidl/gen/pb-go/flyteidl/service"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	launchv1 "wingbeat.dev/client/idl/launch/v1"
	queryv1 "wingbeat.dev/client/idl/query/v1"
	watchv1 "wingbeat.dev/client/idl/watch/v1"
)

// messageBytesMax is what the client takes in one message: values are handed out inline up to 18 MiB.
const messageBytesMax = 64 << 20

// ExecutionID names an execution.
type ExecutionID struct {
	Project, Domain, Name string
}

func (id ExecutionID) String() string { return id.Project + ":" + id.Domain + ":" + id.Name }

func (id ExecutionID) message() *queryv1.ExecutionIdentifier {
	return &queryv1.ExecutionIdentifier{Project: id.Project, Domain: id.Domain, Name: id.Name}
}

func idOf(message *queryv1.ExecutionIdentifier) ExecutionID {
	return ExecutionID{message.GetProject(), message.GetDomain(), message.GetName()}
}

// Client is a connection to an installation. It is safe for concurrent use; make one and keep it.
type Client struct {
	conn    *grpc.ClientConn
	project string
	domain  string
	http    *http.Client
	launch  launchv1.LaunchServiceClient
	watch   watchv1.WatchServiceClient
	admin   service.AdminServiceClient
}

type settings struct {
	project, domain string
	credentials     credentials.TransportCredentials
	dial            []grpc.DialOption
}

// Option changes how Dial connects.
type Option func(*settings)

// WithScope sets the project and domain of items that name none. Without it they are flytesnacks and development.
func WithScope(project, domain string) Option {
	return func(s *settings) { s.project, s.domain = project, domain }
}

// WithTLS encrypts the connection; nil checks the server against the certificates of the system.
func WithTLS(config *tls.Config) Option {
	return func(s *settings) { s.credentials = credentials.NewTLS(config) }
}

// WithDialOptions passes options to gRPC as they are, credentials of each call for instance.
func WithDialOptions(options ...grpc.DialOption) Option {
	return func(s *settings) { s.dial = append(s.dial, options...) }
}

// Dial makes a client for the gRPC address of an installation ("host:port"). It does not wait for the connection: the
// first call does. Without WithTLS the connection is not encrypted.
func Dial(target string, options ...Option) (*Client, error) {
	s := settings{project: "flytesnacks", domain: "development", credentials: insecure.NewCredentials()}
	for _, option := range options {
		option(&s)
	}
	dial := append([]grpc.DialOption{
		grpc.WithTransportCredentials(s.credentials),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(messageBytesMax)),
	}, s.dial...)
	conn, err := grpc.NewClient(target, dial...)
	if err != nil {
		return nil, err
	}
	return &Client{
		conn:    conn,
		project: s.project,
		domain:  s.domain,
		http:    &http.Client{},
		launch:  launchv1.NewLaunchServiceClient(conn),
		watch:   watchv1.NewWatchServiceClient(conn),
		admin:   service.NewAdminServiceClient(conn),
	}, nil
}

// Close ends the connection and every call on it.
func (c *Client) Close() error { return c.conn.Close() }

// Conn is the connection itself, for services that the client has no methods for.
func (c *Client) Conn() grpc.ClientConnInterface { return c.conn }

// Execution names an execution in the client's project and domain.
func (c *Client) Execution(name string) ExecutionID { return ExecutionID{c.project, c.domain, name} }

// Version asks the installation for its version.
func (c *Client) Version(ctx context.Context) (string, error) {
	answer, err := c.admin.GetVersion(ctx, versionRequest)
	if err != nil {
		return "", wrap(err)
	}
	return answer.GetControlPlaneVersion().GetVersion(), nil
}
