/*
 * Every constant reply that the server machine gives by itself, once: X(name, code, class, subject,
 * detail, text). Class 0: no enhanced status. Included by reply.h and reply.c, each with its own X;
 * the list is also what the documentation shows.
 */

/* Positive ones. */
X(help, 214, 2, 0, 0, "Commands: EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP STARTTLS QUIT")
X(start_tls, 220, 2, 0, 0, "Ready to start TLS")
X(bye, 221, 2, 0, 0, "Bye")
X(ok, 250, 2, 0, 0, "OK")
X(sender_ok, 250, 2, 1, 0, "Sender OK")
X(recipient_ok, 250, 2, 1, 5, "Recipient OK")
X(chunk_ok, 250, 2, 0, 0, "Chunk received")
X(stored, 250, 2, 0, 0, "Message accepted")
X(not_verified, 252, 2, 0, 0, "Not verified; mail to it will be tried")
X(send_data, 354, 0, 0, 0, "Send the message; end with <CRLF>.<CRLF>")

/* The session ends. */
X(timeout, 421, 4, 4, 2, "Nothing heard for too long; closing")
X(out_of_memory, 421, 4, 3, 0, "Out of memory; try again later")
X(too_many_errors, 421, 4, 7, 0, "Too many errors; closing")
X(too_many_refused, 421, 4, 7, 0, "Too many refused recipients; closing")
X(too_many_messages, 421, 4, 7, 0, "Too many messages in this session; connect again")
X(endless_line, 421, 4, 7, 0, "Endless line; closing")
X(not_http, 554, 5, 5, 1, "This is an SMTP server; HTTP is not spoken here")
X(not_tls, 554, 5, 5, 1, "This port begins in clear text; TLS here begins with STARTTLS")
X(behind_starttls, 554, 5, 5, 1, "Nothing may follow STARTTLS in one write; closing")
X(bare_in_data, 554, 5, 5, 2, "Bare CR, bare LF or NUL in the message; closing")
X(bad_chunk_size, 501, 5, 5, 4, "BDAT takes a size in decimal digits and perhaps LAST; closing")
X(endless_data, 552, 5, 3, 4, "Message far too large; closing")

/* Not now. */
X(cannot_store, 451, 4, 3, 0, "Could not store the message; try again later")
X(too_many_recipients, 452, 4, 5, 3, "Too many recipients; send the others in another message")

/* Lines and commands. */
X(bare_in_line, 500, 5, 5, 2, "Bare CR, bare LF or NUL in a command; a line ends in CRLF")
X(long_line, 500, 5, 5, 2, "Line too long")
X(unknown_command, 500, 5, 5, 1, "Command not recognised")
X(bad_name, 501, 0, 0, 0, "Give the name of your host, or its address in brackets")
X(no_argument, 501, 5, 5, 4, "This command takes no argument")
X(no_user, 501, 5, 5, 4, "An argument is missing")
X(no_starttls, 502, 5, 5, 1, "STARTTLS is not offered")
X(need_hello, 503, 5, 5, 1, "Say EHLO or HELO first")
X(need_mail, 503, 5, 5, 1, "Say MAIL first")
X(need_rcpt, 503, 5, 5, 1, "Say RCPT first")
X(nested_mail, 503, 5, 5, 1, "A transaction is open; RSET ends it")
X(mixed_data, 503, 5, 5, 1, "Not after BDAT; RSET ends the transaction")
X(already_tls, 503, 5, 5, 1, "TLS is already active")
X(need_tls, 530, 5, 7, 0, "Say STARTTLS first")
X(tls_lacking, 454, 4, 7, 0, "TLS is required and not available for now, try again later")

/* MAIL and RCPT. */
X(say_from, 501, 5, 5, 4, "Say MAIL FROM:<address>")
X(say_to, 501, 5, 5, 4, "Say RCPT TO:<address>")
X(bad_sender, 501, 5, 1, 7, "Bad sender address")
X(bad_recipient, 501, 5, 1, 3, "Bad recipient address")
X(bad_parameter, 501, 5, 5, 4, "Bad parameter")
X(parameter_twice, 501, 5, 5, 4, "Parameter given twice")
X(unsupported_value, 504, 5, 5, 4, "Parameter value not supported")
X(unknown_parameter, 555, 5, 5, 4, "Parameter not recognised")
X(needs_smtputf8, 553, 5, 6, 7, "An address outside ASCII needs SMTPUTF8")

/* Content. */
X(too_large, 552, 5, 3, 4, "Message too large")
X(no_recipients, 554, 5, 5, 1, "No valid recipients")
X(bare_in_chunk, 554, 5, 5, 2, "Bare CR, bare LF or NUL in the message")
