"""the band keys of a fingerprint, so that those of replaced content are found and go

Revision: 0013, after 0012.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    empty = sa.text("'{}'")
    op.add_column(
        "content_fingerprints",
        sa.Column("band_keys", postgresql.ARRAY(sa.BigInteger()), nullable=False, server_default=empty),
    )
    # Those of contents that were replaced before stay with the row, and go when it is replaced again.
    op.execute(
        "UPDATE content_fingerprints f SET band_keys = b.keys"
        " FROM (SELECT campaign_id, seq, array_agg(band_key) AS keys FROM fingerprint_bands"
        "  GROUP BY campaign_id, seq) b"
        " WHERE b.campaign_id = f.campaign_id AND b.seq = f.seq"
    )
    op.alter_column("content_fingerprints", "band_keys", server_default=None)


def downgrade() -> None:
    op.drop_column("content_fingerprints", "band_keys")
